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
        ("1 - pearson(p_student.T, p_teacher.T).mean()", "1 - pearson(p_student, p_teacher).mean()"),
        ("((p_teacher + target) ** epsilon - target)", "((p_teacher + target) ** epsilon)"),
    ),
    *of(
        "pat/losses/maps.py",
        ("        weight /= 2\n", "        weight /= 3\n"),
        ("return torch.stack([*losses]).sum()", "return torch.stack([*losses]).mean()"),
        ("zip(losses, spreads, strict=True)]).mean()", "zip(losses, spreads, strict=True)]).sum()"),
    ),
    *of(
        "pat/moments.py",
        ("torch.where(spread > LEAST * self.square, spread, 0.0)", "spread"),
        ("torch.var_mean(x, (0, 2, 3), correction=0)", "torch.var_mean(x, (0, 2, 3))"),
        ("(variances + (means - mean).square())", "variances"),
        ("        count = shown.sum()\n", "        count = shown.new_full((), shown.numel())\n"),
        (
            "((like.variance + ridge) / (own.variance + ridge)).sqrt()",
            "(like.variance + ridge) / (own.variance + ridge)",
        ),
        ("scale[:, None, None] + like.mean", "scale[:, None, None] + own.mean"),
    ),
    *of(
        "pat/targets.py",
        (
            "restandardised(prompted.float(), own, like) if restandardise",
            "restandardised(prompted.float(), own, own) if restandardise",
        ),
        ("spread = moments(maps[2], shown).spread if grid else like.spread", "spread = like.spread"),
        ("over(own.spread, like.spread), explained", "over(like.spread, own.spread), explained"),
        ("torch.where(of_target > 0, 1 - over(missed, of_target), 0.0)", "1 - over(missed, of_target)"),
        ("pooled(shown.float(), grid) > 0", "pooled(shown.float(), grid) >= 0"),
    ),
    *of(
        "pat/options.py",
        (
            "return {VARIANT: variant, **self.defaults, **self.variants[variant]}",
            "return {VARIANT: variant, **self.variants[variant], **self.defaults}",
        ),
    ),
    *of(
        "pat/losses/relations.py",
        ("count = (distances > 0).sum()", "count = torch.ones_like(distances).sum()"),
        ("noise = negative.shape[1] / images", "noise = 1 / images"),
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
        ("kd_loss(seen.logits, told.logits, self.temperature)", "kd_loss(seen.logits, told.logits, 1.0)"),
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
        ("if self.step == 0:", "if True:"),
    ),
    *of("pat/methods/dkd.py", ("labels, self.alpha, self.beta", "labels, self.beta, self.alpha")),
    *of(
        "pat/methods/dist.py",
        (
            "dist_loss(gather_batch(seen.logits), teacher, self.beta, self.gamma",
            "dist_loss(gather_batch(seen.logits), teacher, self.gamma, self.beta",
        ),
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
        ("compare(aligned, prompted.maps[i], plain.maps[i],", "compare(aligned, plain.maps[i], plain.maps[i],"),
        ("over_stages(feature, spreads)", "over_stages(feature)"),
        ('self.grids[i] if self.feature_size == "regions" else ()', "()"),
        ("shown, grid, self.restandardise)", "shown, grid)"),
        ("drift=(self.drift_weight, drift if", "drift=(self.drift_weight, drift.detach() if"),
        ("reached = (self.step + 1) / self.feature_warmup", "reached = self.step / self.feature_warmup"),
        ("        if self.training:\n            self.step += 1\n", "        self.step += 1\n"),
        ("len(levels) if feature_stages == 0 else feature_stages", "len(levels)"),
        ('"feature_norm": "variance", "feature_weight": 0.1', '"feature_norm": "variance"'),
        (
            "kd_loss(prompted.logits, plain.logits, temperature=1.0)",
            "kd_loss(plain.logits, prompted.logits, temperature=1.0)",
        ),
        ("(aligned[i] - prompted.maps[i]).detach().float()", "(prompted.maps[i] - aligned[i]).detach().float()"),
        ("return {i: (aligned[i] - plain[i]).detach() for", "return {i: aligned[i].detach() for"),
    ),
    *of("pat/attention.py", ("self._split_heads(k + self.position)", "self._split_heads(k)")),
    *of("pat/prompts.py", ("return x + self.strength * self.prompt(", "return x + self.prompt(")),
    *of(
        "pat/align.py",
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
