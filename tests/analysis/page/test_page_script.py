"""The page's script in a real browser: sorting, filtering, pages, columns, and the matrix by mouse and keyboard."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis.frames import load
from analysis.page import Report, Shown, page

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium on the PATH")

STEPS = """
const wait = (time) => new Promise((done) => setTimeout(done, time));
const q = (selector) => document.querySelector(selector), qa = (selector) => [...document.querySelectorAll(selector)];
const column = (table, n) => qa(`#table-${table} tbody tr`).map((row) => row.cells[n].textContent);
const header = (table, name) => qa(`#table-${table} th button`).find((button) => button.textContent === name);
const tell = (button) => q("#detail h3").textContent + ", " + q("#detail p").textContent;
const press = (key) => document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
const result = {};
async function steps() {
  result.start = column("small", 1);
  header("small", "gain").click(); result.up = column("small", 1);
  result.aria = header("small", "gain").parentElement.getAttribute("aria-sort");
  result.focus = document.activeElement.textContent;
  header("small", "gain").click(); result.down = column("small", 1);
  header("small", "gain").click(); result.back = column("small", 1);
  header("small", "name").click(); result.names = column("small", 0);
  const filter = q("#table-small input[type=search]");
  filter.value = "run1 Cnn"; filter.dispatchEvent(new Event("input")); await wait(200);
  result.words = column("small", 0); result.address = location.hash;
  filter.value = "NAME:run1 Cnn"; filter.dispatchEvent(new Event("input")); await wait(200);
  result.filtered = column("small", 0); result.place = q("#table-small .place").textContent;
  result.hidden = qa("#table-small th").length;
  q("#table-small .columns label:last-child input").click(); result.shown = qa("#table-small th").length;
  result.link = q("#table-small a[href^='../runs/']").getAttribute("href");
  result.rows = qa("#table-long tbody tr").length;
  q("#table-long .tools button:nth-of-type(2)").click();
  result.second = [q("#table-long tbody td").textContent, q("#table-long .place").textContent];
  result.panels = qa(".panel:not([hidden])").map((panel) => panel.dataset.method + " " + panel.dataset.setting);
  result.first = tell();
  q("#choose-method button[data-value=pat]").click(); q("#choose-setting button[data-value=default]").click();
  result.both = location.hash;
  result.chosen = qa(".panel:not([hidden])").map((panel) => panel.dataset.method + " " + panel.dataset.setting);
  const cells = qa(".panel:not([hidden]) .cell");
  result.tabs = cells.filter((cell) => cell.tabIndex === 0).length;
  cells[0].focus(); press("ArrowRight"); result.right = tell();
  press("ArrowDown"); result.below = tell(); press("ArrowLeft"); press("ArrowLeft"); result.edge = tell();
  cells[4].dispatchEvent(new PointerEvent("pointerover", { bubbles: true })); result.over = tell();
  cells[4].click(); cells[0].dispatchEvent(new PointerEvent("pointerover", { bubbles: true })); result.held = tell();
  press("Escape"); cells[0].dispatchEvent(new PointerEvent("pointerover", { bubbles: true })); result.free = tell();
  result.runs = qa("#detail li a").length;
  result.wide = document.documentElement.scrollWidth <= innerWidth;
}
steps().catch((error) => { result.error = String(error.stack); }).then(() => {
  const told = { id: "result", textContent: JSON.stringify(result) };
  document.body.append(Object.assign(document.createElement("pre"), told));
});
"""


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory, make_square: Callable[..., Any]) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("study")
    frames = load(make_square().write(folder))
    small = pd.DataFrame(
        {
            "name": ["run10 cnn", "run2 vit", "Run1 CNN", None],
            "gain": [1.5, np.nan, -10.25, 9.0],
            "run_id": ["a b", "c", "d/..", "e"],
            "seed": [1, 2, 3, 4],
        }
    )
    long = pd.DataFrame({"n": range(250)})
    tables = [Shown("small", "Small", "", small, {}, ("seed",)), Shown("long", "Long", "", long)]
    text = page(Report(frames, tables)).replace("</body>", f"<script>{STEPS}</script></body>")
    place = folder / "page.html"
    place.write_text(text)
    command = [str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'browser'}"]
    command += ["--window-size=900,900", "--virtual-time-budget=5000", "--dump-dom", place.as_uri()]
    dumped = subprocess.run(command, capture_output=True, text=True, timeout=120).stdout
    found = re.search('<pre id="result">(.*?)</pre>', dumped, re.S)
    assert found, dumped[-2000:]
    values: dict[str, Any] = json.loads(html.unescape(found[1]))
    assert "error" not in values, values["error"]
    return values


def test_sorting(result: dict[str, Any]) -> None:
    """Numbers as numbers, missing values last in both directions, the third click gives the first order again."""
    assert result["start"] == ["1.50", "", "−10.25", "9.00"] == result["back"]
    assert result["up"] == ["−10.25", "1.50", "9.00", ""] and result["down"] == ["9.00", "1.50", "−10.25", ""]
    assert result["aria"] == "ascending" and result["focus"] == "gain"
    assert result["names"] == ["Run1 CNN", "run2 vit", "run10 cnn", ""], "numbers in names count as numbers"


def test_filter_columns_links_and_pages(result: dict[str, Any]) -> None:
    """Whole words of any column, in any case; a part of a text where its column is named. The address tells both."""
    assert result["words"] == ["Run1 CNN"] and result["address"] == "#small=run1+Cnn"
    assert "method=pat" in result["both"] and "setting=default" in result["both"] and "small=NAME" in result["both"]
    assert result["filtered"] == ["Run1 CNN", "run10 cnn"] and result["place"] == "1 to 2 of 2 rows (of 4)"
    assert (result["hidden"], result["shown"]) == (3, 4)
    assert result["link"] == "../runs/d%2F../"
    assert result["rows"] == 100 and result["second"] == ["100", "101 to 200 of 250 rows"]


def test_the_matrix_by_mouse_and_keyboard(result: dict[str, Any]) -> None:
    assert result["panels"] == ["best "] and result["chosen"] == ["pat default"]
    assert re.fullmatch("resnet_tiny → resnet_nano, (KD|PAT), tuned setting", result["first"])
    assert result["tabs"] == 1, "one stop of the Tab key; arrows do the rest"
    assert result["right"] == "resnet_tiny → vit_nano, PAT, default setting"
    assert result["below"] == "vit_mini → vit_nano, PAT, default setting"
    assert result["edge"].startswith("vit_mini → resnet_nano") and result["over"].startswith("vit_mini → vit_nano")
    assert result["held"] == result["over"] and result["free"].startswith("resnet_tiny → resnet_nano")
    assert result["runs"] == 6 and result["wide"]
