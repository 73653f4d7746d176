"""What a run is and what it learns: identity, views, batches, optimiser, EMA, selection."""

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
    *of("pat/stages.py", ("if call.enter <= calls[k].enter]", "]")),
]
