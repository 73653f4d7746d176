"""What a run is and what it learns: identity, views, batches, losses, methods, optimiser, EMA, selection."""

from __future__ import annotations

from tests.mutants.mutant import of

MUTANTS = [
    *of(
        "pat/config.py",
        ("return json.dumps(self.to_dict(), sort_keys=True,", "return json.dumps(self.to_dict(),"),
    ),
    *of(
        "pat/values.py",
        ("return float(value) if abs", "return value if abs"),
        ("is _NO for item in found", "is 0 for item in found"),
    ),
    *of("pat/state_dicts.py", ("2 * found[best] > len(own)", "found[best] > 0"), ("if whole:", "if True:")),
    *of("pat/data/scan.py", ("entered.add(_identity(folder))\n", "pass\n")),
    *of("pat/canonical.py", ("    if _LATER not in f.metadata:\n        return False\n", "")),
    *of(
        "pat/training.py",
        ("config.teacher.image_size if config.teacher else 0", "0"),
        ("lr=recipe.lr,", "lr=recipe.lr * 0.9,"),
        ("weight_decay=recipe.weight_decay,", "weight_decay=recipe.weight_decay * 0.5,"),
        ("if recipe.warmup_steps else recipe.warmup_epochs,", "if recipe.warmup_steps else 0,"),
        ("step_on_epochs=recipe.schedule_per_epoch,", "step_on_epochs=False,"),
        ("updates_per_epoch=steps,", "updates_per_epoch=steps + 1,"),
        ("use_warmup=recipe.ema_warmup)", "use_warmup=True)"),
        ('return "ema" if self.ema else "raw"', 'return "raw"'),
        ('        self.optimizer.load_state_dict(state["optimizer"])\n', ""),
        ('value if kind == "sha256" else expected', "expected"),
        ("self.method.unused_parameters or has_unused", "has_unused"),
    ),
    *of(
        "pat/epochs.py",
        ("batch.seconds, epoch * steps + done", "batch.seconds, epoch * steps + done - first"),
        ("training.method.begin_epoch(epoch)", "training.method.begin_epoch(0)"),
        ("training.schedule.step(epoch)", "training.schedule.step(epoch + 1)"),
    ),
    *of("pat/compiled.py", ("_LIMIT = 1 << 16", "_LIMIT = 8")),
    *of(
        "pat/captured.py",
        ("place.copy_(now)", "pass"),
        ('rate.fill_(group["lr"])', "rate.fill_(0.001)"),
        ("ema.get_decay(step + 1)", "ema.get_decay(step)"),
        ("own.shape != x.shape or", "False or"),
    ),
    *of(
        "pat/steps.py",
        ("if config.recipe.clip_grad:", "if config.recipe.clip_grad > 1:"),
        ("training.ema.update(training.student, step=step + 1)", "training.ema.update(training.student, step=step)"),
        ('(losses["loss"] / parts).backward()', 'losses["loss"].backward()'),
        ('enabled=config.recipe.precision == "bf16"', "enabled=False"),
        (
            "torch.manual_seed(hash_numbers(config.seed, _STEP, step))",
            "torch.manual_seed(hash_numbers(config.seed, _STEP))",
        ),
    ),
    *of(
        "pat/lockstep.py",
        ("if self._next != (wanted.epoch, wanted.step):", "if self._next is None:"),
        ("given = error", "raise"),
        ("key=lambda wanted: (wanted.epoch, wanted.step))", "key=lambda wanted: wanted.step)"),
    ),
    *of(
        "pat/plain.py",
        ("if self._given is not given or self._images is None:", "if self._images is None:"),
        ("(teacher, precision), SharedPass()", "(teacher, ''), SharedPass()"),
        ("self._asked |= {", "self._asked = {"),
    ),
    *of("pat/finite.py", ("len(losses) % EVERY", "len(losses) % 7"), ("losses[-EVERY:]", "losses[-1:]")),
    *of("pat/data/beside.py", ("own[0]() is not part", "False"), ("if key not in own[1]:", "if not own[1]:")),
    *of(
        "pat/views/scored.py",
        ("return crop_pct == 1 and sizes", "return sizes"),
        ("image_size**2 > HELD", "image_size**2 < HELD"),
    ),
    *of(
        "pat/precision.py",
        ("if found.bf16 < SLOWER * found.fp32:", "if found.bf16 > SLOWER * found.fp32:"),
    ),
    *of(
        "pat/train.py",
        ("if chosen_epoch(training.history, rule, weights) is row:", "if True:"),
        ("(taught_by := member.teacher_score) is None:", "(taught_by := None) is None:"),
    ),
    *of(
        "pat/evaluate.py",
        ("method.task.for_teacher.score(teacher,", "method.task.score(teacher,"),
        (
            "return max(rows, key=lambda row: row[key], default=None)",
            "return max(reversed(rows), key=lambda row: row[key], default=None)",
        ),
        ('"best_val": f"val_score_{weights}"', '"best_val": f"test_score_{weights}"'),
        ('row[f"{split}_score_{weights}"] if row', 'row[f"{split}_score_raw"] if row'),
    ),
    *of(
        "pat/options.py",
        (
            "return {VARIANT: variant, **self.defaults, **self.variants[variant]}",
            "return {VARIANT: variant, **self.variants[variant], **self.defaults}",
        ),
        ("complete[name] == usual[name] == self.defaults[name]", "complete[name] == self.defaults[name]"),
    ),
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
        "pat/suffix.py",
        ("return any(id(blank) in met for blank in blanks)", "return False"),
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
    *of(
        "pat/views/batch.py",
        ("smoothing / num_classes", "smoothing / (num_classes - 1)"),
    ),
    *of(
        "pat/views/pipeline.py",
        ("drawn[:, 0] < recipe.flip", "drawn[:, 0] < recipe.flip / 2"),
        ("uniform(seed, epoch, indices[:, None], slots", "uniform(seed, 0, indices[:, None], slots"),
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
    *of("pat/views/colour_jitter.py", ("(1 + strength - low) * level", "strength * level")),
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
