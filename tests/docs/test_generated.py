"""The generated parts of the pages are up to date, and every error has advice."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest
from tests.docs.generate import ADVICE, DOCS, PARTS, generated

from anyrerank import errors
from anyrerank.hooks import summary

PAGES = [page for page in sorted(DOCS.glob("**/*.md")) if "<!-- generated:" in page.read_text(encoding="utf-8")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_repeats_what_the_code_says(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert generated(text) == text, "run: make pages"


def test_every_part_is_on_a_page() -> None:
    names = re.findall(r"<!-- generated: ([\w -]+) -->", "".join(page.read_text(encoding="utf-8") for page in PAGES))
    assert sorted(names) == sorted(PARTS)


def test_every_error_has_advice() -> None:
    classes = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.RerankError) and value is not errors.RerankError
    }
    assert classes == ADVICE.keys()


def test_every_key_of_a_log_record_is_explained() -> None:
    keys = re.findall(r'^        "(\w+)":', inspect.getsource(summary), flags=re.MULTILINE)
    page = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
    rows = re.search(r"^\| key \|.*\n(?:\|.*\n)+", page, flags=re.MULTILINE)
    assert rows is not None
    listed = re.findall(r"`(\w+)`", " ".join(line.split("|")[1] for line in rows[0].splitlines()))
    assert sorted(listed) == sorted(keys)
