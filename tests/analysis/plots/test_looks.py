"""The looks of methods: always the same, and told apart with the common kinds of colour blindness."""

from __future__ import annotations

import itertools
from importlib.resources import files

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from numpy.typing import ArrayLike, NDArray

from analysis.colours import GAIN, LOSS, NONE
from analysis.order import order
from analysis.plots._cells import COLOURS
from analysis.plots.looks import SCRATCH_GREY, dressed, looks
from pat.methods import list_methods
from sweeps.presets import PRESETS

TEN = ("kd", "pat", "ofa", "dist", "dkd", "fitnet", "crd", "rkd", "cc", "fbt")
KINDS = {
    "none": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protanopia": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deuteranopia": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "tritanopia": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
}
"""What such an eye sees of linear RGB: Machado, Oliveira and Fernandes 2009, severity 1."""


def seen(colour: ArrayLike, kind: str) -> NDArray[np.float64]:
    """CIE L*a*b* (D65) of an sRGB colour as seen with this kind of colour blindness."""
    srgb = np.asarray(colour, float)
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(np.array(KINDS[kind]) @ linear, 0, 1)
    to_xyz = np.array([(0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505)])
    xyz = to_xyz @ linear / np.array([0.95047, 1, 1.08883])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("kind", KINDS)
def test_methods_are_told_apart(kind: str) -> None:
    """About 2 is just visible side by side; the seven colours of Okabe and Ito keep 16."""
    found = [seen(to_rgb(look.colour), kind) for look in looks(TEN).values()]
    assert min(float(np.linalg.norm(a - b)) for a, b in itertools.combinations(found, 2)) > 15
    grey = seen(to_rgb(SCRATCH_GREY), kind)
    assert min(float(np.linalg.norm(colour - grey)) for colour in found) > 11


@pytest.mark.parametrize("kind", KINDS)
def test_gains_and_losses_are_told_apart(kind: str) -> None:
    """The map is lightest in the middle, darker to both ends, and never the same on both sides."""
    colours = COLOURS
    places = np.linspace(0.05, 0.5, 10)
    up, down = ([seen(colours(0.5 + sign * place)[:3], kind) for place in places] for sign in (1, -1))
    assert all(np.linalg.norm(a - b) > 8.5 for a, b in zip(up, down, strict=True))
    for side in (up, down):
        lightness = [colour[0] for colour in side]
        assert lightness == sorted(lightness, reverse=True) and lightness[0] < 98


def test_ink_is_readable_on_every_colour() -> None:
    """WCAG's contrast of black on the darkest: at least 4.5."""
    for colour in (LOSS, GAIN):
        srgb = np.array(to_rgb(colour))
        linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
        assert (float(linear @ [0.2126, 0.7152, 0.0722]) + 0.05) / 0.05 > 4.5


def test_the_page_has_the_same_palette() -> None:
    css = files("analysis.page").joinpath("page.css").read_text()
    assert f"--up: {GAIN}; --down: {LOSS}; --none: {NONE};" in css


def test_a_method_looks_the_same_whatever_stands_beside_it() -> None:
    everything = looks([*TEN, "scratch", "mine"])
    for method in TEN:
        assert looks([method])[method] == everything[method]
    assert looks(["kd", "scratch"])["scratch"].colour == SCRATCH_GREY
    assert (
        len({look.colour for look in looks(TEN).values()}) == len({look.marker for look in looks(TEN).values()}) == 10
    )
    assert order(["pat", "cc", "kd", "kd"]) == ["kd", "cc", "pat"]


def test_more_methods_than_colours_are_told_apart_by_marker_and_line() -> None:
    newer = ("rsd", "sokd", "reviewkd", "nkd", "wttm", "rld", "vkd", "uskd")
    found = looks([*TEN, *newer, "mine", "yours"])
    assert len({look for look in found.values()}) == len(found) == 20
    for method in newer:
        assert looks([method])[method] == found[method]
        sharing = [look for other, look in found.items() if other != method and look.colour == found[method].colour]
        assert all(look.marker != found[method].marker and look.line != found[method].line for look in sharing)


def test_the_looks_of_all_methods_for_classification_are_fixed_and_differ() -> None:
    """All but pre-training's, which stand in studies of their own."""
    known = [name for name in list_methods("classification") if name not in ("scratch", "longer", "spark", "hgkd")]
    found = looks(known)
    assert len({*found.values()}) == len(known) == 20
    assert all(looks([name])[name] == look for name, look in found.items())


@pytest.mark.parametrize("preset", ["demo", "digits", "cifar100-evidence"])
def test_the_columns_of_these_presets_have_a_colour_each(preset: str) -> None:
    columns = PRESETS[preset]().methods
    assert len({look.colour for look in looks(columns).values()}) == len(columns)


def test_a_method_of_its_own_takes_a_free_look() -> None:
    found = looks(["kd", "pat", "mine", "yours"])
    assert len({look.colour for look in found.values()}) == 4


def test_a_frame_is_dressed_as_the_whole_study() -> None:
    """A method without a look of its own has the same one in a panel that shows it alone."""
    alone = dressed(pd.DataFrame({"method": ["yours", "scratch"]}), ["kd", "mine", "yours"])
    look = looks(["kd", "mine", "yours"])["yours"]
    assert tuple(alone.loc[0, ["colour", "marker", "line"]]) == look
    assert alone.loc[1, "colour"] == SCRATCH_GREY
