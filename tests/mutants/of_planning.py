"""What a study is and what it decides: rungs, waves, seeds, warm starts, the order of work, how studies grow."""

from __future__ import annotations

from tests.mutants.mutant import of

MUTANTS = [
    *of(
        "sweeps/study.py",
        ("range(SEARCH_SEED + 1, SEARCH_SEED + 1 + self.seeds)", "range(SEARCH_SEED, SEARCH_SEED + self.seeds)"),
        ('return Cell("" if teacherless(method) else teacher,', "return Cell(teacher,"),
        ('self.students[student].ema_decay > 0 else "raw"', 'self.students[student].ema_decay > 1 else "raw"'),
        ("if name in choices or name not in fixed}", "if name not in fixed}"),
        ('for name in values["methods"] if name in BEFORE},', "for name in ()},"),
    ),
    *of(
        "sweeps/search.py",
        ("max(1, round(share * full))", "max(1, int(share * full))"),
        ("max(1, self.wave * (wave + 1) // self.knobs)", "max(1, self.wave * wave // self.knobs)"),
        ("1 + (default and self.keep_default)", "1 + default"),
        ("if self.trials and first <= recipe.warmup_epochs:", "if self.trials and first < recipe.warmup_epochs:"),
    ),
    *of(
        "sweeps/waves.py",
        ('"space": digest(study.space(wave.cell.method)),', '"space": digest({}),'),
    ),
    *of(
        "sweeps/configs.py",
        ("if seed != SEARCH_SEED and study.confirm", "if seed == SEARCH_SEED and study.confirm"),
        ("data=study.teacher_data(teacher),", "data=study.data,"),
        ("recipe=recipe,\n        seed=SEARCH_SEED,", "recipe=recipe,\n        seed=SEARCH_SEED + 1,"),
        ("        seed=seed,\n", "        seed=max(1, seed),\n"),
        (
            'for key in (f":{cell.student}", f"{cell.teacher}:{cell.student}"):',
            'for key in (f"{cell.teacher}:{cell.student}", f":{cell.student}"):',
        ),
    ),
    *of(
        "sweeps/planning/cells.py",
        (
            'any(_state(runs, other, view).status != "finished" for',
            'all(_state(runs, other, view).status != "finished" for',
        ),
        ('return "" if state.status == "finished" else _first_reason(', "return _first_reason("),
        (
            "if run.run_id not in unit.runs:\n            unit.train(run, state, run.config.recipe.epochs, phase)",
            "if seed:\n            unit.train(run, state, run.config.recipe.epochs, phase)",
        ),
        ("unit.left_later += len(_seeds(study)) * study.epochs", "unit.left_later += study.epochs"),
    ),
    *of(
        "sweeps/planning/halving.py",
        ("key=lambda result: result.scores[-1][1]", "key=lambda result: result.scores[0][1]"),
        ("best = max(finished, key", "best = max(reversed(finished), key"),
        ("key=lambda index: (-scores[index], index)", "key=lambda index: (-scores[index], -index)"),
        ("ranked[: search.going_on(len(alive), first)]", "ranked[: search.going_on(len(ranked), first)]"),
        ("            kept[-1] = 0\n", "            kept = [0]\n"),
        ("if rung == search.ahead_epochs(full):", "if last:"),
        ("alive if last else (), failed)", "alive, failed)"),
        ("if len(failed) >= study.search.failures:", "if len(failed) > study.search.failures:"),
        ('for state in bad if state.status == "failed"]', "for state in bad]"),
        ("options, SEARCH_SEED) for options in settings]", "options, SEARCH_SEED + 1) for options in settings]"),
        ('if over or all(told.status == "failed" for', 'if over or any(told.status == "failed" for'),
        ('rung, "search", drawn + index)', 'rung, "search", index)'),
        ("total += alive * (high - low)", "total += alive * high"),
        ("return study.search.wave * first +", "return study.search.wave +"),
    ),
    *of(
        "sweeps/planning/search.py",
        ("text = json.dumps([study.name, *cell, wave])", "text = json.dumps([study.name, *cell])"),
        ('direction="maximize"', 'direction="minimize"'),
        ("n_startup_trials=startup)", "n_startup_trials=2 * startup)"),
        ("[wave * study.search.wave :]", "[:]"),
        ("values |= {place: score - offset for", "values |= {place: score for"),
        ("if _fits(space, result.options)])", "])"),
        ("for result in earlier} | {_key(default)}", "for result in earlier}"),
        ("value=result.scores[-1][1] if", "value=result.scores[0][1] if"),
        ("{} if state == TrialState.FAIL else dict(result.scores)", "{}"),
    ),
    *of(
        "sweeps/spaces.py",
        ("kind.low <= value <= kind.high", "kind.low < value"),
        ("(self.high / self.low) ** part", "(self.high / self.low) * part"),
    ),
    *of(
        "sweeps/planning/units.py",
        ("self.left_of[run.run_id] = max(0, until - state.epochs)", "self.left_of[run.run_id] = until"),
        ('return f"sha256:{source.sha256}"', 'return f"sha256:{source.path}"'),
        ('return cls(own if phase in ("search", "confirm") else', 'return cls(own if phase != "teacher" else'),
        (
            'return self.cell.student if self.kind == "teacher" else',
            "return self.cell.student if self.cell.teacher else",
        ),
        ("if run_id not in others}\n        runs =", "}\n        runs ="),
        ("if model in self._unsynced else 1", "if model not in self._unsynced else 1"),
    ),
    *of(
        "sweeps/planning/anchors.py",
        ("in (*same, *akin)]", "in (*akin, *same)]"),
        ("and _kinds(*pair) == kinds]", "and _kinds(*pair)[1] == kinds[1]]"),
    ),
    *of("sweeps/planning/urgency.py", ("return self._line[0] if", "return self._line[-1] if")),
    *of(
        "sweeps/planning/view.py",
        ('row["epoch"]: row[f"val_score_{weights}"] for', 'row["epoch"]: row["val_score_raw"] for'),
        ("if value is not None and math.isfinite(value) else None", "if value is not None else None"),
    ),
    *of(
        "sweeps/planning/planner.py",
        ("return Urgency(rank, -seconds,", "return Urgency(rank, seconds,"),
        ('rank = 2 if first or key.kind == "scratch" else 3', 'rank = 2 if key.kind == "scratch" else 3'),
        ('rank = 2 if first or key.kind == "scratch" else 3', "rank = 2 if first else 3"),
        ("further = self._behind(waiting) if waiting.awaited else", "further ="),
        ("self.units[waiting].longest + further[1]", "self.units[waiting].longest"),
        ("                self._owners[run_id] += alone", "                self._owners[run_id] = alone"),
        ("if self._owners[run][0] != key}", "if self._owners[run][-1] != key}"),
        ("            self._drawn.append(Wave(key.cell, wave, settings))\n", ""),
        ("search = replace(study.search, trials=asked.search.trials)", "search = study.search"),
    ),
    *of(
        "sweeps/planning/matrix.py",
        ('"rule": "last",', '"rule": "best_test",'),
        ('"weights": study.weights(row.cell.student),', '"weights": "raw",'),
        ("in study.pairs if student == cell.student]", "in study.pairs]"),
    ),
    *of(
        "sweeps/store.py",
        ("seeds=plain(united_seeds(stored.seeds, asked.seeds))", "seeds=asked.seeds"),
        ("trials=max(stored.search.trials, asked.search.trials)", "trials=asked.search.trials"),
    ),
    *of(
        "analysis/identity.py",
        ('"seeds", "gpu_share")', '"seeds", "gpu_share", "threads")'),
        ("        return list(second)\n", "        return list(first)\n"),
        ('not str(value.get("path")).startswith("timm:")', 'str(value.get("path")).startswith("timm:")'),
    ),
]
