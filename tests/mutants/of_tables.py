"""The ledger, what merges it, and the tables: which column, which rule, which direction, which unit."""

from __future__ import annotations

from tests.mutants.mutant import of

MUTANTS = [
    *of(
        "analysis/tables/optimism.py",
        ('own["ema"].where(rows["weights"] == "ema", own["raw"])', 'own["raw"]'),
        ('largest=grouped["over_last"].max()', 'largest=grouped["over_last"].mean()'),
    ),
    *of(
        "analysis/tables/settings.py",
        ('search_score=("best", "max")', 'search_score=("score", "max")'),
        ('runs[f"val_last_{weights}"]', 'runs[f"test_last_{weights}"]'),
        (
            'frame["search_score"] - frame["confirmed_validation"]',
            'frame["confirmed_validation"] - frame["search_score"]',
        ),
    ),
    *of(
        "analysis/tables/trials.py",
        ('epochs.groupby("run_id")["epoch"].idxmax()', 'epochs.groupby("run_id")["val_score_raw"].idxmax()'),
        ('.where(rows["status"] == "finished")', '.where(rows["status"] != "failed")'),
        ('[*_CELL, "drawn", "began", "run_id"]', '[*_CELL, "began", "drawn", "run_id"]'),
        ('== "ema"\n', '!= "ema"\n'),
    ),
    *of(
        "analysis/tables/costs.py",
        ('table["search_hours"] + table["confirm_hours"]', 'table["confirm_hours"]'),
        ("[known].groupby(cell).median()", "[known].groupby(cell).mean()"),
        ('table["hours"] * (float("nan")', 'table["confirm_hours"] * (float("nan")'),
    ),
    *of(
        "analysis/cost.py",
        ("/ 3600 * workers *", "/ 3600 *"),
        ("shared = (workers == 1) &", "shared = (workers >= 1) &"),
        ('& (runs["device"] != "cpu")', ""),
    ),
    *of(
        "analysis/tables/families.py",
        ("wide.notna().all().sum()", "wide.notna().any().sum()"),
    ),
    *of(
        "analysis/tables/methods.py",
        ('outside = own["gain_over_scratch_p_holm"] < 1 - LEVEL', 'outside = own["gain_over_scratch_p"] < 1 - LEVEL'),
        ('(outside & (own["gain_over_scratch"] > 0))', '(own["gain_over_scratch"] > 0)'),
        ('"wins": int((own["gain_over_kd"] > 0).sum())', '"wins": int((own["gain_over_scratch"] > 0).sum())'),
        ('"iqm": middle.value,', '"iqm": mean.value,'),
    ),
    *of(
        "analysis/tables/duels.py",
        ("(gaps > 0) + 0.5 * (gaps == 0)", "(gaps >= 0) * 1.0"),
        ("without=method)", 'without="")'),
        ("mean_gain(a - b, found.students)", "mean_gain(a, found.students)"),
    ),
    *of(
        "analysis/tables/published.py",
        ('same = ("paper", "student_timm", "metric")', 'same = ("student_timm", "metric")'),
        ('published["metric"].str.startswith(frames.metric.published) & (', "("),
        ('if one["metric"] == fact["metric"] and', "if"),
    ),
    *of(
        "analysis/published.py",
        ("_BATCHES[code, dataset][0 if cnn else 1]", "_BATCHES[code, dataset][1 if cnn else 0]"),
        ("if ours.validation > 0:", "if ours.validation > 1:"),
        ('copied = paper == "PAT" and method != "pat"', "copied = False"),
    ),
    *of(
        "analysis/tables/transfer.py",
        ("nearest = gaps.argmin(axis=1)", "nearest = gaps.argmax(axis=1)"),
        ("np.sqrt(0.5), 0.0)", "1.0, 0.0)"),
        ("common.max() < COMMON_NEEDED", "common.max() <= COMMON_NEEDED"),
        ('method="spearman"', 'method="pearson"'),
    ),
    *of(
        "analysis/tables/importance.py",
        ("* (n - 1) / (n - k)", ""),
        ("np.floor(wanted * (rankdata(values) - 0.5) / n)", "np.floor(wanted * (rankdata(values) - 1) / n)"),
        ("(1 + np.count_nonzero(chance >= value - 1e-9))", "np.count_nonzero(chance >= value - 1e-9)"),
        ("student_t.ppf(0.975, n - 1)", "student_t.ppf(0.95, n - 1)"),
    ),
    *of(
        "analysis/tables/failures.py",
        ('.map({True: "diverged", False: "failed"})', '.map({False: "diverged", True: "failed"})'),
    ),
    *of(
        "analysis/ledger.py",
        (
            'shown = "test_correct_" + rows["rule"] + "_" + rows["weights"]',
            'shown = "test_correct_last_" + rows["weights"]',
        ),
    ),
    *of(
        "analysis/versions.py",
        ('value and _FAILURES_OF_1.get(value, "bug")', 'value and "bug"'),
        ("frozenset(_CAME.keys() - _FILLED.keys())", "frozenset(_FILLED)"),
        ("[_FILLED.get(field.name)]", "[None]"),
        ('    "teacher_score": "teacher_top1",\n', ""),
    ),
    *of(
        "analysis/tables/details.py",
        ('rows["rule"] + "_" + rows["weights"]', '"best_val_" + rows["weights"]'),
        ('.dropna(subset=names, how="all")', ""),
    ),
    *of(
        "analysis/bulk.py",
        ('files[f"{run_id}/{name}"].mtime_ns)', "0)"),
        (' if f"{run_id}/run.parquet" in files}', "}"),
        ("table = table.sort_by(order)", "pass"),
    ),
    *of(
        "analysis/merge.py",
        ("return (1 if self.failed else 2), 0", "return (2 if self.failed else 1), 0"),
        ("return 0, len(self.epochs) if CHECKPOINT in self.files else 0", "return 0, len(self.epochs)"),
        ('CELL_STATUSES.index(row["status"]) < CELL', 'CELL_STATUSES.index(row["status"]) > CELL'),
        ("{**read_tags(source), **read_tags(into)}", "{**read_tags(into)}"),
    ),
    *of(
        "analysis/summary.py",
        ('row[f"{name}_p_holm"] < 1 - LEVEL', 'row[f"{name}_p"] < 1 - LEVEL'),
        ("joules / 3.6e6", "joules / 3.6e3"),
    ),
    *of(
        "analysis/rectangle.py",
        (".transpose(2, 1, 0)", ".transpose(2, 1, 0)[:, ::-1]"),
        ("> len(best[0]) * len(best[1])", ">= len(best[0]) * len(best[1])"),
    ),
]
