"""Losses, and the moments of maps that some of them are measured by."""

from __future__ import annotations

from tests.mutants.mutant import of

MUTANTS = [
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
        ("(square - mean.square()).clamp(min=0)", "square"),
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
            "restandardised(x.float(), own, like) for",
            "restandardised(x.float(), own, own) for",
        ),
        ("Compared(student, target, of_plain.spread,", "Compared(student, target, spread,"),
        ("over(own.spread, spread), explained", "over(spread, own.spread), explained"),
        ("torch.where(varies > 0, 1 - over(missed.square, varies), 0.0)", "1 - over(missed.square, varies)"),
        ("    if grids or restandardise:", "    if grids:"),
        ("taught = prompted if drift_learns else _fixed(prompted)", "taught = prompted"),
        ("pooled(shown.float(), grid) > 0", "pooled(shown.float(), grid) >= 0"),
    ),
    *of(
        "pat/losses/relations.py",
        ("count = (distances > 0).sum()", "count = torch.ones_like(distances).sum()"),
        ("noise = negative.shape[1] / images", "noise = 1 / images"),
        ("kappa * (correlations.square().sum() - diagonal.square().sum())", "kappa * correlations.square().sum()"),
        ("standardise(student, 0).T @ standardise(teacher, 0)", "standardise(student, 1).T @ standardise(teacher, 1)"),
        ("F.cross_entropy(scores.T, own)) / 2", "F.cross_entropy(scores, own)) / 2"),
        ("torch.where(length > least, x / length", "torch.where(length > -1, x / length"),
    ),
]
