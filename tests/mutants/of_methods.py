"""What each method adds to a step, and the modules that they share."""

from __future__ import annotations

from tests.mutants.mutant import of

MUTANTS = [
    *of(
        "pat/methods/base.py",
        ("sum(own.values()) + sum(weight * part for weight, part", "sum(weight * part for weight, part"),
        ("            self.teacher.eval()\n", "            self.teacher.train(mode)\n"),
        ("antialias=True)", "antialias=False)"),
        ('return {f"student.{name}" for name in names()}', "return set(names())"),
    ),
    *of(
        "pat/methods/scratch.py",
        (
            "return self.result(self.see(images, targets), targets)",
            "return {name: value / 2 for name, value in self.result(self.see(images, targets), targets).items()}",
        ),
    ),
    *of(
        "pat/methods/kd.py",
        ("kd_loss(student, teacher, self.temperature)", "kd_loss(student, teacher, 1.0)"),
        ("standardise(x.logits) if self.standardise else x.logits", "x.logits"),
    ),
    *of(
        "pat/methods/cc.py",
        (
            'FORMS = {"adjacent": correlation_loss, "kernel": kernel_correlation_loss}',
            'FORMS = {"adjacent": kernel_correlation_loss, "kernel": correlation_loss}',
        ),
    ),
    *of(
        "pat/methods/rkd.py",
        ('"angle": (self.angle_weight, rkd_angle_loss)', '"angle": (self.distance_weight, rkd_angle_loss)'),
    ),
    *of(
        "pat/methods/crd.py",
        ("given, self.memory_student, compared, 1", "given, self.memory_teacher, compared, 1"),
        (
            "self.momentum * memory[everywhere] + (1 - self.momentum)",
            "(1 - self.momentum) * memory[everywhere] + self.momentum",
        ),
        ("        self.step += 1\n", ""),
        ("torch.where(self.step == 0, first, self.scale[side])", "first"),
    ),
    *of(
        "pat/methods/dkd.py",
        (
            "self.task.classes(seen, targets), self.alpha, self.beta",
            "self.task.classes(seen, targets), self.beta, self.alpha",
        ),
        ("standardise(x.logits) if self.standardise else x.logits", "x.logits"),
    ),
    *of(
        "pat/methods/nkd.py",
        ("self.gamma, self.temperature)", "self.temperature, self.gamma)"),
        ("standardise(x.logits) if self.standardise else x.logits", "x.logits"),
    ),
    *of("pat/methods/wttm.py", ("self.gamma, self.weighted)", "self.gamma, not self.weighted)")),
    *of(
        "pat/methods/rld.py",
        ("labels, self.confidence_temperature)", "labels, self.temperature)"),
        ("correlation = self.warmup.factor * masked", "correlation = masked"),
    ),
    *of(
        "pat/methods/rsd.py",
        ("self.decouple(gather_batch(features.float()))", "gather_batch(self.decouple(features.float()))"),
        ("width = self.student_embedding.dim, expansion * ", "width = self.student_embedding.dim, "),
    ),
    *of(
        "pat/methods/vkd.py",
        ("feature=(self.weight, normalised", "feature=(self.kd_weight, normalised"),
    ),
    *of(
        "pat/methods/uskd.py",
        ("(gather_batch(x) for x in (seen.logits, weak, shares))", "(seen.logits, weak, shares)"),
        ("seen.maps[-2].mean((2, 3))", "seen.maps[-2].amax((2, 3))"),
        ("weak=(self.weak_weight, of_weak)", "weak=(self.beta, of_weak)"),
    ),
    *of(
        "pat/methods/dist.py",
        (
            "dist_loss(gather_batch(seen.logits), teacher, self.beta, self.gamma",
            "dist_loss(gather_batch(seen.logits), teacher, self.gamma, self.beta",
        ),
    ),
    *of(
        "pat/hints.py",
        ("[min(a, b) for a, b", "[max(a, b) for a, b"),
        ("pooled(project(own), size)", "pooled(own, size)"),
        ("over_stages(losses, spreads)", "over_stages(losses)"),
        ("found, target = found * seen, target * seen", "found, target = found * seen, target"),
    ),
    *of(
        "pat/methods/fitnet.py",
        ("over_stages(hints, self._spreads(told))", "over_stages(hints)"),
        ('self.couples_samples = feature_norm != "none"', "self.couples_samples = False"),
        (
            "kd_loss(seen.logits, told.logits, self.temperature)",
            "kd_loss(told.logits, seen.logits, self.temperature)",
        ),
    ),
    *of(
        "pat/methods/ofa.py",
        ("kd=(self.kd_weight, final), ofa=(self.weight, ofa))", "kd=(self.weight, final), ofa=(self.kd_weight, ofa))"),
        ("width = max(widths) if convolutional", "width = min(widths) if convolutional"),
        ("len(stages) - place, width", "len(stages) - place + 1, width"),
    ),
    *of(
        "pat/methods/pat.py",
        ("for x in (aligned, prompted.maps, plain.maps))", "for x in (aligned, plain.maps, plain.maps))"),
        ("over_stages(feature, spreads)", "over_stages(feature)"),
        ('[self.grids[i] for i in self.compared_stages] if self.feature_size == "regions" else ()', "()"),
        ("shown, grids, self.restandardise, drift_learns", "shown, grids, drift_learns"),
        ("drift=(self.drift_weight, drift)", "drift=(self.drift_weight, drift.detach())"),
        ("reached = (self.step + 1) / self.feature_warmup", "reached = self.step / self.feature_warmup"),
        ("        if self.training:\n            self.step += 1\n", "        self.step += 1\n"),
        ("len(levels) if feature_stages == 0 else feature_stages", "len(levels)"),
        ("lr_scale=self.prompt_lr", "lr_scale=self.prompt_lr**2"),
        ('"feature_norm": "variance", "feature_weight": 0.1', '"feature_norm": "variance"'),
        ("dist_loss(gather_batch(seen.logits), gather_batch(plain.logits)", "dist_loss(seen.logits, plain.logits"),
        (
            "kd_loss(prompted.logits, plain.logits, temperature=1.0)",
            "kd_loss(plain.logits, prompted.logits, temperature=1.0)",
        ),
        ("(aligned[i] - prompted.maps[i]).detach().float()", "(prompted.maps[i] - aligned[i]).detach().float()"),
        ("return {i: (aligned[i] - plain[i]).detach() for", "return {i: aligned[i].detach() for"),
    ),
    *of(
        "pat/methods/fbt.py",
        ("locality(student) >= locality(teacher)", "locality(student) > locality(teacher)"),
        (
            "_Knowledge(seen.logits, gather_batch(self.project_student(own).float()))",
            "_Knowledge(seen.logits, self.project_student(own).float())",
        ),
        ("shown = assistant.detached() if self.detach_assistant else assistant", "shown = assistant"),
        ("ofa_loss(target.logits, source.logits,", "ofa_loss(source.logits, target.logits,"),
        ("hits = fused.argmax(1)", "hits = seen.logits.argmax(1)"),
        ("        if self.training:\n", "        if True:\n"),
        ("(assistant_student_weight and not detach_assistant)", "assistant_student_weight"),
        ("x.mean((2, 3))[:, None] + self.tokens", "x.mean((2, 3))[:, None] + 0 * self.tokens"),
    ),
    *of(
        "pat/unused.py",
        ("        return True\n", "        return False\n"),
        ("if p.requires_grad and id(p) not in reached", "if id(p) not in reached"),
    ),
    *of(
        "pat/align.py",
        ("torch.matrix_exp(lower - lower.T)", "torch.matrix_exp(lower + lower.T)"),
        ("return F.linear(x.float(), self.weight)", "return F.linear(x, self.weight)"),
        ("student[max(0, stage + lead)]", "student[min(stage, len(student) - 1)]"),
        ("self.norm_positions(x.flatten(2).transpose(1, 2)[..., None])[..., 0]", "x.flatten(2).transpose(1, 2)"),
        ("patches.permute(0, 1, 4, 2, 5, 3)", "patches.permute(0, 1, 4, 3, 5, 2)"),
        ('mode="fan_out", nonlinearity', 'mode="fan_in", nonlinearity'),
        ("smaller = (min(height, rows), min(width, columns))", "smaller = (rows, columns)"),
    ),
    *of(
        "pat/heads.py",
        ("for stride, target in ((2, channels), (1, out)):", "for stride, target in ((1, channels), (2, out)):"),
        (
            "merges = max(0, int(math.log2(min(size) / FINAL_GRID)))",
            "merges = max(0, round(math.log2(min(size) / FINAL_GRID)))",
        ),
        ("if merge == 0 or merge < merges - 1:", "if merge < merges - 1:"),
    ),
]
