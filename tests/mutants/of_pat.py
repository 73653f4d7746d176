"""What a run is and what it learns: identity, views, batches, losses, methods, optimiser, EMA, selection."""

from __future__ import annotations

from tests.mutants.mutant import of

MUTANTS = [
    *of(
        "pat/config.py",
        ("return json.dumps(self.to_dict(), sort_keys=True,", "return json.dumps(self.to_dict(),"),
        ("    if _LATER not in f.metadata:\n        return False\n", ""),
    ),
    *of(
        "pat/training.py",
        ("lr=recipe.lr,", "lr=recipe.lr * 0.9,"),
        ("weight_decay=recipe.weight_decay,", "weight_decay=recipe.weight_decay * 0.5,"),
        ("if recipe.warmup_steps else recipe.warmup_epochs,", "if recipe.warmup_steps else 0,"),
        ("step_on_epochs=recipe.schedule_per_epoch,", "step_on_epochs=False,"),
        ("updates_per_epoch=steps,", "updates_per_epoch=steps + 1,"),
        ("use_warmup=recipe.ema_warmup)", "use_warmup=True)"),
        ('return "ema" if self.ema else "raw"', 'return "raw"'),
        ('        self.optimizer.load_state_dict(state["optimizer"])\n', ""),
        ('value if kind == "sha256" else expected', "expected"),
    ),
    *of(
        "pat/train.py",
        ("start=epoch * training.steps_per_epoch)", "start=0)"),
        ("training.method.begin_epoch(epoch)", "training.method.begin_epoch(0)"),
        ("training.schedule.step(epoch)", "training.schedule.step(epoch + 1)"),
        ("if config.recipe.clip_grad:", "if config.recipe.clip_grad > 1:"),
        ("training.ema.update(training.student, step=step + 1)", "training.ema.update(training.student, step=step)"),
        ('(losses["loss"] / parts).backward()', 'losses["loss"].backward()'),
        ('enabled=config.recipe.precision == "bf16"', "enabled=False"),
        (
            "torch.manual_seed(int(hash64(config.seed, _STEP, step)))",
            "torch.manual_seed(int(hash64(config.seed, _STEP)))",
        ),
        ("if chosen_epoch(training.history, rule, weights) is row:", "if True:"),
    ),
    *of(
        "pat/evaluate.py",
        (
            "return max(rows, key=lambda row: row[key], default=None)",
            "return max(reversed(rows), key=lambda row: row[key], default=None)",
        ),
        ('"best_val": f"val_score_{weights}"', '"best_val": f"test_score_{weights}"'),
        ('row[f"{split}_score_{weights}"] if row', 'row[f"{split}_score_raw"] if row'),
    ),
    *of(
        "pat/losses/logits.py",
        (
            'F.kl_div(log_student, log_teacher, reduction="batchmean", log_target=True) * temperature**2',
            'F.kl_div(log_student, log_teacher, reduction="batchmean", log_target=True) * temperature',
        ),
        ("return F.kl_div(log_student, log_teacher,", "return F.kl_div(log_teacher, log_student,"),
        ("for a, b in ((log_q, log_p), (log_q.T, log_p.T))", "for a, b in ((log_q, log_p), (log_q, log_p))"),
        ("(log_p - log_p.detach().amax(1, keepdim=True)).exp()", "log_p.exp()"),
        ("return F.log_softmax(kept, dim=1).masked_fill(dropped, 0.0)", "return F.log_softmax(kept, dim=1)"),
        ("dropped & ~dropped.all(1, keepdim=True)", "dropped"),
        ("return -own - gamma * temperature**2 * others", "return -own - gamma * temperature * others"),
        ("log_powers = exponent * F.log_softmax(", "log_powers = F.log_softmax(exponent * "),
        ("teacher >= teacher.gather(1, labels[:, None])", "teacher > teacher.gather(1, labels[:, None])"),
        ("surest, _ = _decoupled(teacher, teacher.argmax(1),", "surest, _ = _decoupled(teacher, labels,"),
        ("shares[:, 1:] > rest]", "shares[:, 1:] > 0]"),
        ("square.sum(0) / there.sum(0).clamp(min=1)", "square.mean(0)"),
        ("dim=1, descending=True, stable=True).argsort(1) + 1", "dim=1, descending=True, stable=True) + 1"),
        ("smooth = 0.9 * targets + 0.1 / targets.shape[1]", "smooth = targets"),
        ("((p_teacher + target) ** epsilon - target)", "((p_teacher + target) ** epsilon)"),
    ),
    *of(
        "pat/losses/correlation.py",
        ("_ROUNDING = 16\n", "_ROUNDING = 0\n"),
        ("(centred, x.detach())", "(centred, torch.ones_like(x))"),
        ("centred * (x.shape[dim] ** 0.5 /", "centred * ((x.shape[dim] - 1) ** 0.5 /"),
    ),
    *of("pat/losses/features.py", ("F.layer_norm(teacher, teacher.shape[1:])", "teacher")),
    *of("pat/losses/maps.py", ("        weight /= 2\n", "        weight /= 3\n")),
    *of(
        "pat/losses/relations.py",
        ("count = (distances > 0).sum()", "count = torch.ones_like(distances).sum()"),
        ("noise = negative.shape[1] / images", "noise = 1 / images"),
        ("kappa * (correlations.square().sum() - diagonal.square().sum())", "kappa * correlations.square().sum()"),
        ("standardise(student, 0).T @ standardise(teacher, 0)", "standardise(student, 1).T @ standardise(teacher, 1)"),
        ("F.cross_entropy(scores.T, own)) / 2", "F.cross_entropy(scores, own)) / 2"),
        ("torch.where(length > least, x / length", "torch.where(length > -1, x / length"),
    ),
    *of(
        "pat/methods/base.py",
        ("sum(own.values()) + sum(weight * part for weight, part", "sum(weight * part for weight, part"),
        ("            self.teacher.eval()\n", "            self.teacher.train(mode)\n"),
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
        "pat/methods/fitnet.py",
        ("over_stages(hints, self._spreads(told))", "over_stages(hints[-1:], self._spreads(told))"),
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
        (
            "compare(aligned, prompted.maps[i], plain.maps[i],",
            "compare(aligned, plain.maps[i], plain.maps[i],",
        ),
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
        ("x.mean((2, 3))[:, None] + self.tokens", "x.mean((2, 3))[:, None] + 0 * self.tokens"),
    ),
    *of(
        "pat/suffix.py",
        ("b if a == b else b // PROBES[1] * len(like)", "b"),
        ("alike(clean.logits, logits) and alike(clean.features, features)", "alike(clean.logits, logits)"),
        ("            module.training = False\n", "            module.training = True\n"),
        ("            module.grad_checkpointing = False\n", "            module.grad_checkpointing = True\n"),
        ("            if key in self._earlier:\n                return self._blank(key, x)\n", ""),
    ),
    *of("pat/models.py", ("max(p.shape[2:]) > 1 and not n.startswith(stems)", "max(p.shape[2:]) > 1")),
    *of("pat/attention.py", ("self._split_heads(k + self.position)", "self._split_heads(k)")),
    *of("pat/prompts.py", ("return x + self.strength * self.prompt(", "return x + self.prompt(")),
    *of(
        "pat/align.py",
        ("torch.matrix_exp(lower - lower.T)", "torch.matrix_exp(lower + lower.T)"),
        ("return F.linear(x.float(), self.weight)", "return F.linear(x, self.weight)"),
        ("student[max(0, stage + lead)]", "student[min(stage, len(student) - 1)]"),
    ),
    *of(
        "pat/heads.py",
        ("for stride, target in ((2, channels), (1, out)):", "for stride, target in ((1, channels), (2, out)):"),
    ),
    *of(
        "pat/views/batch.py",
        ("smoothing / num_classes", "smoothing / (num_classes - 1)"),
    ),
    *of(
        "pat/views/pipeline.py",
        ("slots.FLIP) < recipe.flip", "slots.FLIP) < recipe.flip / 2"),
        ("flip = uniform(seed, epoch, indices, slots.FLIP)", "flip = uniform(seed, 0, indices, slots.FLIP)"),
        ('"bicubic": 1.0, "random"', '"bicubic": 0.0, "random"'),
        ("short = math.floor(image_size / crop_pct)", "short = image_size"),
    ),
    *of(
        "pat/views/crop.py",
        ("(width - box_width + 1)).floor(), left)", "(width - box_width)).floor(), left)"),
    ),
    *of(
        "pat/views/mix.py",
        ("torch.where(cut, left_over, kept), box", "kept, box"),
        (
            "targets * kept.float() + targets[partners] * (1 - kept)",
            "targets * (1 - kept).float() + targets[partners] * kept",
        ),
    ),
    *of("pat/views/erasing.py", ("slots.ERASE) < probability)", "slots.ERASE) < probability / 2)")),
    *of(
        "pat/views/randaugment.py",
        ("applied=applied < policy.probability", "applied=applied < policy.probability / 2"),
    ),
    *of("pat/views/colour_jitter.py", ("low + (1 + strength - low) * uniform(", "low + strength * uniform(")),
    *of("pat/data/base.py", ("round(len(members) * share)]", "int(len(members) * share)]")),
    *of(
        "pat/starting.py",
        ("if expected and found != expected:", "if not expected and found != expected:"),
        ("(head if differing else set())", "head"),
        ("sorted(differing - head)", "sorted(differing & head)"),
    ),
    *of(
        "pat/memory.py",
        ("return not coupled and not any(", "return not any("),
    ),
    *of("pat/counter.py", ("11).to(torch.float64) * 2.0**-53", "11).to(torch.float64) * 2.0**-52")),
]
