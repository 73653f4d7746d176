"""Intervals, p-values and corrections; which run is paired with which; which trial a search chose."""

from __future__ import annotations

from tests.mutants.mutant import of

MUTANTS = [
    *of(
        "analysis/stats/paired.py",
        ("special.stdtrit(freedom, (1 + level) / 2)", "special.stdtrit(freedom, level)"),
        ("x.var(ddof=1) / len(x), len(x) - 1, level", "x.var(ddof=0) / len(x), len(x) - 1, level"),
        ("2.0 ** (1 - n) * max(tests, 1)", "2.0 ** (1 - n)"),
        ("np.sum(above + below)", "np.sum(above)"),
        ("if len(x) < BCA_SEEDS or", "if len(x) <= BCA_SEEDS or"),
    ),
    *of(
        "analysis/stats/images.py",
        ("rest / ((n - 1) * (images - 1))\n", "rest / (n * (images - 1))\n"),
        ("ms_images**2 / (images - 1) +", "ms_images**2 / images +"),
    ),
    *of(
        "analysis/stats/moderated.py",
        ("SHARED_VARIANCE_CORRELATION = 0.25", "SHARED_VARIANCE_CORRELATION = 0.0"),
        ("MIN_POOLED_CELLS = 3", "MIN_POOLED_CELLS = 2"),
        ("special.digamma(d / 2) + np.log(d / 2)", "special.digamma(d / 2)"),
        ("cap = float(d.mean()) * count", "cap = float(d.sum())"),
        ("own / (prior.df + own)", "prior.df / (prior.df + own)"),
        ("np.minimum(prior.df + own, prior.cap)", "prior.df + own"),
        ("floor = max(resolution**2 / 6,", "floor = max(0.0,"),
        ("variance = posterior / np.maximum(n, 1)", "variance = posterior"),
        ("np.average(s2, weights=d)", "np.median(s2)"),
    ),
    *of(
        "analysis/stats/ratio.py",
        ("between, square = (both - var_a - var_b) / 2,", "between, square = (both - var_a - var_b),"),
        ("second = b**2 - square * var_b", "second = b**2"),
        ("free = a * b - square * between, a**2 - square * var_a", "free = a * b, a**2 - square * var_a"),
    ),
    *of(
        "analysis/stats/multiple.py",
        ("np.arange(len(order), 0, -1)", "np.full(len(order), len(order))"),
        ("np.maximum.accumulate(p[order] * factors)", "p[order] * factors"),
    ),
    *of(
        "analysis/stats/cellwise.py",
        ("in (holm, benjamini_hochberg)", "in (np.asarray, benjamini_hochberg)"),
        ("for rows in (first, ~first):", "for rows in (first | True,):"),
        ('table["error"] ** 2,', 'table["std"] ** 2,'),
        ('tests[rows] = table.loc[rows, "p"].notna().sum()', "tests[rows] = 1"),
    ),
    *of(
        "analysis/stats/twoway.py",
        ("stats.f.sf(between / rest, rows - 1, df)", "stats.f.sf(between / rest, rows, df)"),
        ("- table.mean(axis=0) + table.mean()", "+ 0.0"),
        ("max(0.0, between - rest) / columns", "max(0.0, between - rest)"),
    ),
    *of(
        "analysis/stats/spread.py",
        ("chance = pairs * (own -", "chance = (own -"),
        ("special.fdtrc(df, df * (n - 1),", "special.fdtrc(df, df,"),
    ),
    *of(
        "analysis/stats/shrink.py",
        ("truth / (truth + noise)", "noise / (truth + noise)"),
        ("1 - rank / len(fit)", "1.0"),
    ),
    *of(
        "analysis/verdicts.py",
        ("(low > -SMALLEST) & (high", "(low > -SMALLEST) | (high"),
        ("sure & (gain < 0)]", "gain < 0]"),
    ),
    *of(
        "analysis/stats/correlation.py",
        ('ranks -= ranks.groupby(frame["student"]).transform("mean")', "ranks -= ranks.mean()"),
        ("np.abs(chance) >= abs(rho)", "chance >= rho"),
    ),
    *of("analysis/stats/offered.py", ("PAIR_SEEDS = 3", "PAIR_SEEDS = 2"), ("PROFILE_SEEDS = 5", "PROFILE_SEEDS = 4")),
    *of(
        "analysis/stats/aggregates.py",
        ("+ (pairs * over_seeds - own) / (pairs - 1)", ""),
        ("float(min(df, most)), level", "float(df), level"),
        ("weight = cells * (cells + 1)", "weight = cells**0"),
        ("np.count_nonzero(x > limit", "np.count_nonzero(x >= limit"),
        ("z**2 / (4 * number**2)", "z**2 / number**2"),
        ("size=(resamples, len(names), n - 1)", "size=(resamples, len(names), n)"),
        ("draws[:, student]", "draws[:, np.zeros_like(student)]"),
    ),
    *of(
        "analysis/stats/ranks.py",
        ("f, k - 1, (k - 1) * (n - 1)", "f, k - 1, n - 1"),
        ("/ math.sqrt(2)\n", "\n"),
        ("(6 * blocks)", "(12 * blocks)"),
        ("if end > last and", "if end >= last and"),
    ),
    *of(
        "analysis/cells.py",
        (
            'wide[cell, seed] = pairs["score"] - pairs["score_baseline"]',
            'wide[cell, seed] = pairs["score_baseline"] - pairs["score"]',
        ),
        ('group = [*on, "rule", "weights"]', "group = on"),
        (
            'methods[kd], ["teacher", "student", "setting"])',
            'methods[kd].query("setting == \'default\'"), ["teacher", "student"])',
        ),
        ('return left.merge(right, on=[*group, "seed"]', 'return left.drop(columns="seed").merge(right, on=group'),
        ('.transform("first")', '.transform("nunique")'),
        ("return 100.0 / float(images)", "return 1.0 / float(images)"),
        ("differences[same] = np.nan", "differences[same] = 0.0"),
        ('shown["score", part].where(paired > 0, own[part])', "own[part]"),
        ("position, distinct = pd.factorize(names)", "position, distinct = pd.factorize(pd.Series(range(len(names))))"),
    ),
    *of(
        "analysis/searches.py",
        ('finished.groupby(CELL)["score"].idxmax()', 'finished.groupby(CELL)["score"].idxmin()'),
        ('finished = rows[(rows["status"] == "finished") &', 'finished = rows[(rows["status"] != "failed") &'),
        ("distinct[-1] / distinct[0] >= _WIDE", "distinct[-1] / distinct[0] > 100 * _WIDE"),
        ("/ (len(known) - 1)", "/ len(known)"),
    ),
]
