"""docs/as_published.md says what the code does."""

from __future__ import annotations

from tests import as_published


def test_the_page_is_what_the_code_says() -> None:
    assert as_published.FILE.read_text() == as_published.text(), "python -m tests.as_published writes it anew"
