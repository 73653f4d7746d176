"""The one order of methods in all tables, figures and pages."""

from __future__ import annotations

from collections.abc import Iterable

_BY_KIND = (
    "kd", "dkd", "nkd", "dist", "wttm", "rld", "ofa", "uskd",
    "fitnet", "reviewkd", "sokd", "vkd", "rsd",
    "cc", "rkd", "crd",
    "fbt", "pat", "pat_relational", "pat_hinted",
    "longer", "spark", "hgkd",
)  # fmt: skip


def order(methods: Iterable[str]) -> list[str]:
    """Methods in the one order of all tables and figures, by what is distilled: the teacher's answers (KD first), its
    features, relations between samples, what adapts the teacher (PAT last), and pre-training, its controls first.
    What is not known here follows, by name."""
    places = {method: place for place, method in enumerate(_BY_KIND)}
    return sorted(set(methods), key=lambda method: (places.get(method, len(places)), method))
