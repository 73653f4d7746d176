"""The figures' font: DejaVu Sans without the scripts that no figure uses, made once.

Each PDF embeds what it uses of the font. From the whole font of 6,000 glyphs that costs half a second of a CPU a
figure, from this one of a few hundred a tenth; what it lacks comes from the whole one.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import matplotlib as mpl
from fontTools import subset
from matplotlib import font_manager

FAMILY = "Report Sans"
_RANGES = ((0x20, 0x17F), (0x370, 0x3FF), (0x2010, 0x2044), (0x2070, 0x209C), (0x2190, 0x21FF), (0x2200, 0x22FF))
"""Latin, Greek, punctuation, superscripts, arrows, mathematical signs."""


def register() -> None:
    """Make FAMILY known to matplotlib, regular and bold."""
    if FAMILY in font_manager.fontManager.get_font_names():
        return
    for weight in ("normal", "bold"):
        whole = Path(font_manager.findfont(font_manager.FontProperties(family="DejaVu Sans", weight=weight)))
        place = Path(mpl.get_cachedir()) / f"report-{mpl.__version__}-{whole.name}"
        if not place.exists():
            _make(whole, place)
        font_manager.fontManager.addfont(place)


def _make(whole: Path, place: Path) -> None:
    """Written whole or not at all: several processes may begin at once."""
    options = subset.Options(layout_features=[], notdef_outline=True, name_IDs=["*"])
    options.drop_tables += ["FFTM"]
    font = subset.load_font(str(whole), options)
    chooser = subset.Subsetter(options)
    chooser.populate(unicodes=[code for first, last in _RANGES for code in range(first, last + 1)])
    chooser.subset(font)
    for record in font["name"].names:
        if record.nameID in (1, 4, 6, 16):
            record.string = str(record).replace("DejaVu Sans", FAMILY).replace("DejaVuSans", FAMILY.replace(" ", ""))
    handle, temporary = tempfile.mkstemp(dir=place.parent, suffix=".ttf")
    with os.fdopen(handle, "wb") as file:
        subset.save_font(font, file, options)
    os.replace(temporary, place)
