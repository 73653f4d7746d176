"""The newer losses as their formulas say them: one number after the other, in float64, gradients by autograd."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Row = list[Tensor]


def rows(x: Tensor) -> list[Row]:
    """The numbers of a matrix, each a tensor of its own."""
    return [list(row.unbind()) for row in x.double().unbind()]


def log_sum(values: Sequence[Tensor]) -> Tensor:
    top = max(value.item() for value in values)
    return top + sum((value - top).exp() for value in values).log()  # type: ignore[union-attr]


def log_softmax(row: Sequence[Tensor], t: float = 1.0) -> Row:
    total = log_sum([x / t for x in row])
    return [x / t - total for x in row]


def mean(values: Sequence[Tensor]) -> Tensor:
    return torch.stack([torch.as_tensor(value, dtype=torch.float64) for value in values]).mean()


def divergence(log_p: Sequence[Tensor], log_q: Sequence[Tensor]) -> Tensor:
    """KL(p || q)."""
    return sum((b.exp() * (b - a) for a, b in zip(log_q, log_p, strict=True)), torch.zeros(()))


def z_scores(row: Sequence[Tensor]) -> Row:
    """With the deviation of all of them; 0 where they are alike."""
    middle = mean(row)
    deviation = mean([(x - middle) ** 2 for x in row]).sqrt()
    if max(abs((x - row[0]).item()) for x in row) == 0:
        return [x * 0 for x in row]
    return [(x - middle) / deviation for x in row]


def dkd(student: Tensor, teacher: Tensor, labels: Sequence[int], alpha: float, beta: float, t: float) -> Tensor:
    found = []
    for s, z, y in zip(rows(student), rows(teacher), labels, strict=True):
        others = [c for c in range(len(s)) if c != y]
        if not others:
            found.append(s[y] * 0)
            continue
        halves = [log_softmax([row[y] / t, log_sum([row[c] / t for c in others])]) for row in (z, s)]
        among = [log_softmax([row[c] for c in others], t) for row in (z, s)]
        found.append(t**2 * (alpha * divergence(*halves) + beta * divergence(*among)))
    return mean(found)


def nkd(student: Tensor, teacher: Tensor, labels: Sequence[int], gamma: float, t: float) -> Tensor:
    found = []
    for s, z, y in zip(rows(student), rows(teacher), labels, strict=True):
        others = [c for c in range(len(s)) if c != y]
        own = -log_softmax(z)[y].exp() * log_softmax(s)[y]
        log_s, log_z = (log_softmax([row[c] for c in others], t) if others else [] for row in (s, z))
        among = -sum(b.exp() * a for a, b in zip(log_s, log_z, strict=True))
        found.append(own + gamma * t**2 * among)
    return mean(found)


def ttm(student: Tensor, teacher: Tensor, exponent: float, weighted: bool) -> Tensor:
    found = []
    for s, z in zip(rows(student), rows(teacher), strict=True):
        powers = [log_p.exp() ** exponent for log_p in log_softmax(z)]
        total = sum(powers[1:], powers[0])
        target = [power / total for power in powers]
        log_s = log_softmax(s)
        apart = sum((p * (p.log() - q) for p, q in zip(target, log_s, strict=True) if p.item() > 0), torch.zeros(()))
        found.append(total * apart if weighted else apart)
    return mean(found)


def confidence(student: Tensor, teacher: Tensor, labels: Sequence[int], t: float) -> Tensor:
    found = []
    for s, z, y in zip(rows(student), rows(teacher), labels, strict=True):
        if len(s) == 1:
            found.append(s[0] * 0)
            continue
        surest = max(range(len(z)), key=lambda c: z[c].item())
        halves = [
            log_softmax([row[own] / t, log_sum([x / t for c, x in enumerate(row) if c != own])])
            for row, own in ((z, surest), (s, y))
        ]
        found.append(t**2 * divergence(*halves))
    return mean(found)


def masked_correlation(student: Tensor, teacher: Tensor, labels: Sequence[int], t: float) -> Tensor:
    found = []
    for s, z, y in zip(rows(student), rows(teacher), labels, strict=True):
        below = [c for c in range(len(z)) if z[c].item() < z[y].item()]
        among = [log_softmax([row[c] for c in below], t) if below else [] for row in (z, s)]
        found.append(t**2 * divergence(*among) + s[y] * 0)
    return mean(found)


def self_distillation(student: Tensor, weak: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """`targets` may have label smoothing, a same small share of every class that is no target."""
    classes, found = student.shape[1], []
    owned = []
    for row in targets.tolist():
        order = sorted(range(classes), key=lambda c: -row[c])
        second = len(order) > 1 and row[order[1]] > (row[order[2]] if classes > 2 else 0.0)
        owned.append(order[: 1 + second])
    squares = [
        [
            log_softmax(s)[own[place]].exp().item() ** 2
            for s, own in zip(rows(student), owned, strict=True)
            if len(own) > place
        ]
        for place in (0, 1)
    ]
    for s, w, row, own in zip(rows(student), rows(weak), targets.tolist(), owned, strict=True):
        log_s, log_w = log_softmax(s), log_softmax(w)
        of_target = torch.zeros((), dtype=torch.float64)
        for place, c in enumerate(own):
            soft = log_s[c].exp().item() ** 2 + row[c] - sum(squares[place]) / len(squares[place])
            of_target = of_target - soft * log_s[c]
        others = [c for c in range(classes) if c not in own]
        among_s, among_w = (log_softmax([x[c] for c in others]) if others else [] for x in (s, w))
        likely = [torch.logaddexp(a, b).item() for a, b in zip(among_s, among_w, strict=True)]
        order = sorted(range(len(others)), key=lambda place: -likely[place])
        total = sum(1 / rank for rank in range(1, len(others) + 1))
        of_others = -sum((among_s[place] / rank / total for rank, place in enumerate(order, start=1)), s[0] * 0)
        of_weak = -sum((0.9 * row[c] + 0.1 / classes) * log_w[c] for c in range(classes))
        found.append((of_target, of_others, of_weak))
    one, two, three = (mean(values) for values in zip(*found, strict=True))
    return one, two, three


def redundancy(student: Tensor, teacher: Tensor, kappa: float) -> Tensor:
    a, b = ([z_scores(list(column.unbind())) for column in x.double().T] for x in (student, teacher))
    total = torch.zeros((), dtype=torch.float64)
    for i, one in enumerate(a):
        for j, other in enumerate(b):
            correlation = mean([x * y for x, y in zip(one, other, strict=True)])
            total = total + ((1 - correlation) ** 2 if i == j else kappa * correlation**2)
    return total


def normalised_feature(projected: Tensor, teacher: Tensor) -> Tensor:
    found = []
    for s, z in zip(rows(projected), rows(teacher), strict=True):
        middle = mean(z)
        deviation = (mean([(x - middle) ** 2 for x in z]) + 1e-5).sqrt()
        for x, y in zip(s, z, strict=True):
            apart = (x - (y - middle) / deviation).abs()
            found.append(apart**2 / 2 if apart.item() < 1 else apart - 0.5)
    return mean(found)


def dist(student: Tensor, teacher: Tensor, beta: float, gamma: float, t: float) -> Tensor:
    log_p = [[log_softmax(row, t) for row in rows(x)] for x in (student, teacher)]

    def correlated(sides: Sequence[Sequence[Row]]) -> Tensor:
        scored = ([z_scores([(x - max(row, key=Tensor.item)).exp() for x in row]) for row in side] for side in sides)
        return mean([mean([x * y for x, y in zip(a, b, strict=True)]) for a, b in zip(*scored, strict=True)])

    inter, intra = correlated(log_p), correlated([[list(column) for column in zip(*x, strict=True)] for x in log_p])
    return t**2 * (beta * (1 - inter) + gamma * (1 - intra))


def disagreement(loss: Callable[[Tensor], Tensor], literal: Callable[[Tensor], Tensor], student: Tensor) -> float:
    """The larger one of the relative differences of two losses of the student and of their gradients."""
    found = []
    for one in (loss, literal):
        x = student.clone().requires_grad_()
        value = one(x)
        (gradient,) = torch.autograd.grad(value, x)
        found.append((value.double(), gradient.double()))
    (value, gradient), (true_value, true_gradient) = found
    off = (value - true_value).abs() / (1 + true_value.abs())
    return max(off.item(), ((gradient - true_gradient).norm() / (1 + true_gradient.norm())).item())
