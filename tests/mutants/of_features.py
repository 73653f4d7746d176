"""Maps that teach: knowledge review, augmentation by a policy, distinctive areas; and who learns how fast."""

from __future__ import annotations

from tests.mutants.mutant import of

MUTANTS = [
    *of(
        "pat/clock.py",
        ("        now = self.step.clone()\n", "        now = self.step\n"),
        ("        if self.training:\n", "        if True:\n"),
        ("(epoch + 1) / max(1, self.epochs)", "epoch / max(1, self.epochs)"),
        ("min(1.0, (epoch", "max(0.0, (epoch"),
    ),
    *of(
        "pat/fusion.py",
        ("width = min(WIDTH, sources[-1])", "width = WIDTH"),
        ("deeper = resize(deeper, x.shape[-2:])", "deeper = resize(deeper, x.shape[-2:]).detach()"),
        ("x = x * own + deeper * other", "x = x * other + deeper * own"),
        ("return self.leave(x), x", "return self.leave(x), self.enter[1](x)"),
        ("if self.common else [*maps, maps[-1].mean(", "if self.common else [*maps, maps[0].mean("),
    ),
    *of(
        "pat/methods/reviewkd.py",
        ("weight * self.warmup.factor", "weight + 0 * self.warmup.factor"),
    ),
    *of(
        "pat/feature_ops.py",
        ("(shear_x - sin) * (height / width)", "(shear_x - sin) * (width / height)"),
        ("2 * right, (shear_y", "right, (shear_y"),
        ('padding_mode="zeros"', 'padding_mode="border"'),
        (
            "half = centre[:, axis, None] * cells, side * cells / 2",
            "half = centre[:, axis, None] * cells, side * cells",
        ),
        ("shuffle * (y[:, channel_order(y.shape[1], key)] - y)", "shuffle * y[:, channel_order(y.shape[1], key)]"),
        ("spread = x.detach().flatten(1).std(1, correction=0)", "spread = x.detach().flatten(1).std(1, correction=1)"),
        ("uniform(key, indices[:, None], torch", "uniform(key, 0 * indices[:, None], torch"),
        ("normal = math.sqrt(2) * torch.erfinv(", "normal = torch.erfinv("),
    ),
    *of(
        "pat/feature_policy.py",
        ("scores = self.choice - (-u.log()).log()", "scores = self.choice + (-u.log()).log()"),
        ("odds = self.probability + v.logit()", "odds = self.probability"),
        ("own = hash64(key, place)", "own = hash64(key)"),
        ("value.to(soft) + (soft - soft.detach())", "value.to(soft)"),
        ("x + gates[place] * (operate(", "x + (operate("),
    ),
    *of(
        "pat/areas.py",
        ("F.max_pool2d(heat, 3, stride=1, padding=1)", "F.max_pool2d(heat, 5, stride=1, padding=2)"),
        ("(own + offset)[:, :, None]", "own[:, :, None]"),
        (" & (found >= 0)[:, :, None]", ""),
        ("(one.heat + other.heat) / 2", "one.heat"),
        ("F.softplus(size), offset)", "F.softplus(size), offset.relu())"),
    ),
    *of("pat/losses/maps.py", (".square() * mask).mean()", ".square() * mask).sum() / mask.sum().clamp(min=1)")),
    *of(
        "pat/methods/sokd.py",
        ("[x.detach() for x in aligned], replace(", "[*aligned], replace("),
        ("*(x.detach() for x in augmented))), searched", "*augmented)), searched"),
        ("hash64(self.key, self.clock())", "hash64(self.key)"),
        ("own = told.shown(aligned[: len(told.maps)])", "own = aligned[: len(told.maps)]"),
        ('found if self.mask == "student" else mutual', 'theirs if self.mask == "student" else mutual'),
        ("epochs=self.search_epochs)", "epochs=self.search_epochs + 1)"),
        ('"area": (self.area_weight,', '"area": (self.head_weight,'),
    ),
    *of(
        "pat/groups.py",
        ("if number < self.steps:", "if number <= self.steps:"),
        ("weight_decay=settings.weight_decay\n", "weight_decay=0.0\n"),
        ("if id(p) not in grouped]", "if True]"),
        ('{**part, "lr_scale": group.lr_scale}', "{**part}"),
    ),
    *of(
        "pat/training.py",
        ("            own.optimizer.load_state_dict(kept)\n", "            pass\n"),
        ("self.clipped = [p for p in self.trainable if id(p) in learning]", "self.clipped = self.trainable"),
    ),
]
