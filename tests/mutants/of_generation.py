"""Masked images: what is hidden, what is sparse, what is generated, and the runs that wait for it."""

from __future__ import annotations

from tests.mutants.mutant import of

MUTANTS = [
    *of(
        "pat/sparse.py",
        ("row[..., None] * rows + inside // columns", "row[..., None] * rows + inside % columns"),
        ("return _emptied if max(module.kernel_size) > 1 else None", "return None"),
        ('if getattr(module, "channel_dim", 1) == -1', 'if getattr(module, "channel_dim", 1) == 1'),
    ),
    *of(
        "pat/islands.py",
        ("TOLERANCE = 1e-6", "TOLERANCE = 1e6"),
        ("module.training = train and", "module.training = False and"),
    ),
    *of(
        "pat/decoder.py",
        ("x = enlarge(x) + skip", "x = enlarge(x)"),
        (" + self.token * hidden", ""),
    ),
    *of(
        "pat/losses/generation.py",
        ("beta=BETA, reduction", "reduction"),
        ("hidden[:, 0]).sum() / hidden.sum()", "hidden[:, 0]).mean()"),
        ("(variance + 1e-6).sqrt()", "(variance + 1e-6)"),
    ),
    *of(
        "pat/tasks/generation.py",
        ("hash64(_HIDE, seed, epoch, indices", "hash64(_HIDE, seed, 0, indices"),
        ("squares - total.square() / positions", "squares"),
        ("self.order(indices, 0, _SCORED)", "self.order(indices, 0, 0)"),
    ),
    *of(
        "pat/methods/spark.py",
        ("    recomputable = False\n", "    recomputable = True\n"),
        ("order[:, : self.visible].sort(1)", "order[:, self.visible :].sort(1)"),
        ("target = self.target(images)", "target = self.target(images * ~visible.hidden(images.shape[2:]))"),
    ),
    *of(
        "pat/methods/hgkd.py",
        ("len(sizes) - 1 - sizes[::-1].index(needed)", "sizes.index(needed)"),
        ("self.ask(self.for_teacher(images),", "self.ask(images,"),
    ),
    *of(
        "sweeps/costs/flops.py",
        ("_scored_by(method, task) if task.own_methods else ", ""),
    ),
    *of(
        "sweeps/configs.py",
        ("initial, method = pretrained, Method()\n", "method = Method()\n"),
    ),
    *of(
        "sweeps/study.py",
        ("round(full * self.pretraining.longer) if", "full if"),
    ),
    *of(
        "sweeps/planning/units.py",
        ('            return [Key("pretrain", key.cell)]\n', "            return []\n"),
    ),
    *of(
        "sweeps/planning/cells.py",
        ('done = [before.status == "finished" for', 'done = [before.status != "failed" for'),
        ("if not place and state.status in ENDED_BADLY:", "if state.status in ENDED_BADLY:"),
        ("unit.unknown_runs, unit.left_later = undrawn, undrawn * full", "unit.unknown_runs = undrawn"),
    ),
    *of(
        "sweeps/planning/halving.py",
        ("return RunState(before.status, message=", 'return RunState("failed", message='),
    ),
    *of(
        "sweeps/planning/planned.py",
        ("(old is None or unit.undrawn != old.undrawn)", "old is None"),
    ),
    *of(
        "sweeps/engine/job_of.py",
        ('"options": segment.run.setting, **(taught', '"options": "{}", **(taught'),
    ),
    *of(
        "sweeps/engine/records.py",
        ("        **job.named,\n", ""),
    ),
]
