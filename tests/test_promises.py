"""What README and pages promise: each sentence has something that stands for it, and the page says what."""

from __future__ import annotations

import re

import pytest

from tests.promises import PAGE, README, ROOT, Promise, bare, flat, missing, page, promises, sentences

KNOWN = promises()


@pytest.mark.parametrize("promise", KNOWN, ids=lambda promise: promise.name)
def test_a_promise_is_said_and_something_stands_for_it(promise: Promise) -> None:
    text = (ROOT / promise.where).read_text()
    said = [*sentences(text), flat(text)]
    for piece in promise.says:
        assert any(flat(piece) in sentence for sentence in said), f"{promise.where} does not say {piece!r}"
    assert promise.by and missing(promise) == []


def test_no_sentence_of_the_readme_stands_bare() -> None:
    assert bare(README.read_text(), KNOWN) == []


def test_a_bare_sentence_is_found() -> None:
    text = "# Title\n\nFirst. It is **never** slow.\n\n- It takes 5 minutes.\n\n```bash\nrun  # takes 2 minutes\n```\n"
    assert bare(text, []) == ["It is never slow.", "It takes 5 minutes.", "takes 2 minutes"]
    known = [Promise("a", ("is never",), "", ()), Promise("b", ("takes 5 minutes", "takes 2 minutes"), "", ())]
    assert bare(text, known) == []
    assert missing(Promise("a", (), "", ("tests/no.py", "tests/test_promises.py::no", "python -m tests.bench no"))) == [
        "tests/no.py", "tests/test_promises.py::no", "python -m tests.bench no",
    ]  # fmt: skip


def test_the_page_is_what_the_list_gives() -> None:
    """But for days and commits, which are those of the last `python -m tests.promises`."""
    undated = re.sub(r" \(\d{4}-\d\d-\d\d, [0-9a-f]+\)$", " ()", PAGE.read_text(), flags=re.MULTILINE)
    assert undated == page(KNOWN, lambda place: "")
