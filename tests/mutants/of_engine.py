"""What becomes of runs that are lost, retried and kept; what a study is expected to cost; what it starts from."""

from __future__ import annotations

from tests.mutants.mutant import of

MUTANTS = [
    *of(
        "sweeps/engine/driver.py",
        ("if is_among(place, self.health.closed(time.time())):", "if True:"),
        ("begun = failure.said or where is not None", "begun = True"),
        ("        if self.planner.complete:\n            tidy_up", "        if True:\n            tidy_up"),
    ),
    *of("sweeps/engine/job_of.py", ("sha256 = driver.planner.view[run_id].student_sha256", 'sha256 = ""')),
    *of("sweeps/planning/unsynced.py", ("if gpus or not several:", "if not several:")),
    *of(
        "sweeps/engine/health.py",
        ("if epochs > losses.epochs:", "if epochs >= losses.epochs:"),
        ("losses.retries += not failure.preempted", "losses.retries += 1"),
        ("enough = len(alike) >= limit and asked >= min(2, self._units, limit)", "enough = len(alike) >= limit"),
        ("several = known == place or len(", "several = True or len("),
        ("and 2 * (shut + 1) <= all_there:", "and True:"),
        ("CLOSED_SECONDS * 2**row.times)", "CLOSED_SECONDS)"),
        ("        if verdict.final:\n            self._acquit(run_id)\n", ""),
        ("return len({failed.process for failed in self.failures})", "return len(self.failures)"),
        ("if failed.process not in its]", "if failed.run_id != run_id]"),
        ("            if again:\n                continue\n", ""),
        ("        self._rows.update(rows)\n", ""),
        ("return Place(place.host) if self.hosts > 1 else place", "return place"),
    ),
    *of(
        "sweeps/engine/seen.py",
        (" and not ended)", ")"),
        ("if view[run_id].epochs < epochs]", "if False]"),
        ("    storage.catch_up(own)\n", ""),
    ),
    *of(
        "sweeps/engine/quarantine.py",
        ("(kept := self._health.kept()) != self._kept:", "(kept := self._health.kept()) is None:"),
    ),
    *of("sweeps/engine/patience.py", ("AT_LEAST if timed else WHERE_UNKNOWN)", "AT_LEAST)")),
    *of(
        "sweeps/engine/kept.py",
        ('(keep == "best" and phase not in ("search", "exchange"))', 'keep == "best"'),
    ),
    *of(
        "sweeps/planning/together.py",
        ("-(-ready // slots)", "ready"),
        ("one.until == other.until and ", ""),
        (" and len(done) == 1", ""),
        ('"data", "task", "seed", "threads"', '"data", "task", "threads"'),
    ),
    *of(
        "sweeps/engine/keep.py",
        ("best = {max(runs, key", "best = {min(runs, key"),
        ("if anew or not checkpoints:", "if anew or checkpoints:"),
        ('for weights in ("ema", "raw")]', 'for weights in ("raw", "ema")]'),
    ),
    *of(
        "sweeps/engine/lock.py",
        ("if _age(other) > CLOCKS_AGREE_SECONDS:", "if _age(other) > CLOCKS_AGREE_SECONDS / 1000:"),
        ("if other and _age(other) <= CLOCKS_AGREE_SECONDS:", "if other:"),
        ('.get("beat") != other["beat"]:', '.get("beat") == other["beat"]:'),
        ('if other and other.get("token") != self._token:', 'if other and other.get("pid") != os.getpid():'),
    ),
    *of(
        "sweeps/engine/records.py",
        ('if outcome.status != "failed":', 'if outcome.status == "finished":'),
        ('sum(row["seconds"] for row in outcome.history)', 'max(row["seconds"] for row in outcome.history)'),
        ('"retries": job.retries,', '"retries": job.preemptions,'),
        ('"epochs_done": outcome.epoch,', '"epochs_done": job.run.recipe.epochs,'),
    ),
    *of(
        "sweeps/engine/runs.py",
        ('record_end(job, "failed", "oom"', 'record_end(job, "failed", "bug"'),
        ("until=job.until,", "until=None,"),
        ('"teacher_sha256": job.teacher_sha256 or None,', '"teacher_sha256": None,'),
    ),
    *of(
        "sweeps/engine/siblings.py",
        ("status or any((folder / SET_ASIDE)", "status and any((folder / SET_ASIDE)"),
        ('and one.row["phase"] == key.kind), None)', "), None)"),
        ('{**found.row, "study": study}', "found.row"),
        ("if place != folder)", "if place == folder)"),
        ('if row["status"] != "finished":', 'if row["status"] == "failed":'),
        ("for key, unit in planner.units.items() if unit.left}", "for key, unit in planner.units.items()}"),
        ("        storage.remove_file(own, name)\n", "        pass\n"),
        ('        _check_architecture(what, key, found.row["student"])\n', ""),
    ),
    *of(
        "sweeps/engine/launch.py",
        ("return gpu_share if workers == 1 else 1.0", "return gpu_share"),
        ("            self._pause()\n            return Searcher.FINISHED", "            return Searcher.FINISHED"),
    ),
    *of(
        "sweeps/engine/progress.py",
        ("return max(work / max(1, self.slots), ", "return max(work, "),
        ("for key, epochs in left.items()) - sum(passed.values())", "for key, epochs in left.items())"),
        ("key=lambda item: fmean(item[1]))", "key=lambda item: max(item[1]))"),
        ("self._score(row) - self._score(base)", "self._score(base) - self._score(row)"),
    ),
    *of(
        "sweeps/planning/speeds.py",
        ("self._over_counted.add(seconds, self.counted[key] * epochs)", "self._over_counted.add(seconds, epochs)"),
        ("return expected[key] * total.ratio", "return total.ratio"),
        ("self._own[key].add(seconds, epochs)", "self._own[key].add(seconds / epochs, 1)"),
    ),
    *of(
        "sweeps/costs/expect.py",
        ("steps = train // recipe.batch_size", "steps = -(-train // recipe.batch_size)"),
        ("(2 if recipe.ema_decay else 1)", "1"),
        ("own = share if one.asked_workers == 1 else 1.0", "own = share"),
        ("return Images(train - held, held,", "return Images(train, held,"),
        ("(CPU_FLOPS * config.threads)", "CPU_FLOPS"),
    ),
    *of(
        "sweeps/costs/forecast.py",
        ("/ (slots * self.share)", "/ slots"),
        ("shared + self.chain_seconds * (1 - 1 / slots)", "shared + self.chain_seconds / slots"),
        ("return hours > ASK_ABOVE", "return hours >= ASK_ABOVE"),
        ("(max(known) * MARGIN + CONTEXT_BYTES)", "(max(known) * MARGIN)"),
        ("return share if workers == 1 else workers", "return share * workers"),
    ),
    *of(
        "sweeps/planning/chain.py",
        (" - passed.get(segment.run_id, 0.0) for", " for"),
        ("known[key] = own + max((of(other)", "known[key] = max((of(other)"),
        ("max(known[key], own + max((before(other)", "max(known[key], max((before(other)"),
        ("return of(anchor) - confirmation", "return of(anchor)"),
    ),
    *of(
        "sweeps/costs/disk.py",
        ("running = 3 * max(1, slots) * largest", "running = max(1, slots) * largest"),
        ("return min(at_once, search.trials, ", "return min(search.trials, "),
        ("unit = planner.counted(key)", "unit = planner.units[key]"),
    ),
    *of(
        "sweeps/costs/flops.py",
        ("if not method.extra_passes and own <", "if own <"),
        ('moments = 2 if "adam"', 'moments = 1 if "adam"'),
    ),
    *of(
        "sweeps/costs/shapes.py",
        ("* sum(output_mask[:2])", "* len(output_mask[:2])"),
        ("if changed and _shapes(out) ==", "if changed or _shapes(out) =="),
        (
            "return given if given is _UNKNOWN else (func, given, _kinds(given))",
            "return given if given is _UNKNOWN else (func, given)",
        ),
    ),
    *of(
        "sweeps/costs/groups.py",
        ("self.views * (1 - shares.views)", "self.views * shares.views"),
        ("return math.ceil(ready / size) / ready", "return ready / size / ready"),
        (
            "waiting[stage.phase, stage.name] += stage.runs * stage.alike",
            "waiting[stage.phase, stage.name] += stage.runs",
        ),
        ("waves * alive * (rung - before)", "waves * alive * rung"),
    ),
    *of(
        "sweeps/costs/known.py",
        ('if found["by"] == _programs():', "if found:"),
        ("bool(run.recipe.ema_decay), classes]", "classes]"),
    ),
    *of("sweeps/costs/probe_file.py", ("self.workers == self.asked_workers", "self.workers >= self.asked_workers")),
    *of(
        "sweeps/costs/predicted.py",
    ),
    *of(
        "sweeps/teachers.py",
        ('return f"{source.tag} {image_size}px"', "return source.tag"),
        ('if source.sha256 not in ("", digest):', "if not digest:"),
    ),
    *of(
        "sweeps/published.py",
        (
            "CIFAR100_CNN_1024 = replace(CIFAR100_CNN, batch_size=1024)",
            "CIFAR100_CNN_1024 = replace(CIFAR100_CNN, lr=0.4)",
        ),
        ('optimizer="adamw",\n    weight_decay=0.05,', 'optimizer="adamw",\n    weight_decay=0.5,'),
        ("IMAGENET_CNN_1024 = replace(IMAGENET_CNN, batch_size=512)", "IMAGENET_CNN_1024 = IMAGENET_CNN"),
    ),
]
