"""`docs/batch.md` names the columns, the options and the exit codes that there are."""

from __future__ import annotations

import re

import pytest
from tests.support.pages import ROOT
from tests.unit.cli.running import run

from anyrerank.batch import Report
from anyrerank.batch.outcomes import COLUMNS

PAGE = (ROOT / "docs" / "batch.md").read_text(encoding="utf-8")


def test_page_lists_the_columns_in_their_order() -> None:
    (table,) = re.findall(r"\| column \| type \|.*?\n\n", PAGE, re.DOTALL)
    cells = [line.split("|")[1] for line in table.strip().splitlines()[3:]]
    assert [name for cell in cells for name in re.findall(r"`(\w+)`", cell)] == list(COLUMNS)


def test_page_names_only_options_that_exist() -> None:
    named = set(re.findall(r"--[a-z]+(?:-[a-z]+)*", PAGE))
    shown = run("batch", "--help", columns=200).stdout
    assert {option for option in named if option not in shown} == set()


@pytest.mark.parametrize(
    ("report", "code"),
    [
        (Report(rows=2, complete=True), 0),
        (Report(rows=2, errors={"BadRequestError": 1}, complete=True), 3),
        (Report(rows=2, stopped="a reason"), 4),
    ],
)
def test_page_has_each_status(report: Report, code: int) -> None:
    assert report.exit_code == code
    assert f"\n| {code} | " in PAGE
