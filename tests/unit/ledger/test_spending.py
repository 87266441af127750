"""Questions about spending: groups, limits and sums."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Sequence
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.ledger_worker import COHERE, DAY, NEVER, NOON, answer, call, tried

from anyrerank import BadRequestError
from anyrerank.hooks import CallEvent
from anyrerank.ledger import Ledger


def test_spending_is_grouped_with_the_highest_cost_first(db: Path) -> None:
    with Ledger(db) as ledger:
        for user, cost in (("ann", 0.002), ("bob", 0.05), ("ann", 0.001), (None, 0.0), ("eve", None)):
            ledger(call(user, [tried(cost=cost)]))
        found = ledger.spend("user")
        assert [(spend.group["user"], spend.calls, spend.cost, spend.unknown) for spend in found] == [
            ("bob", 1, 0.05, 0),
            ("ann", 2, 0.003, 0),
            (None, 1, 0.0, 0),
            ("eve", 1, None, 1),
        ]
        assert ledger.total() == pytest.approx(0.053)
        assert ledger.total(user="ann") == pytest.approx(0.003)
        assert ledger.total(user="nobody") == 0.0


def test_spending_of_no_call_is_zero(db: Path) -> None:
    with Ledger(db) as ledger:
        assert ledger.spend() == []
        (everything,) = ledger.spend(())
        assert (everything.calls, everything.cost, everything.unknown) == (0, 0.0, 0)


@pytest.mark.parametrize(
    ("since", "until", "expected"),
    [
        (None, None, 5),
        (date(2026, 11, 1), None, 4),
        (date(2026, 11, 2), None, 2),
        (None, date(2026, 11, 1), 3),
        (date(2026, 11, 1), date(2026, 11, 1), 2),
        (datetime(2026, 11, 1, 12, tzinfo=timezone.utc), datetime(2026, 11, 2, 12, tzinfo=timezone.utc), 2),
        (datetime(2026, 11, 1, 13, tzinfo=timezone(timedelta(hours=1))), None, 3),
        (date.min, date.max, 5),
        (datetime.min.replace(tzinfo=timezone(timedelta(hours=5))), datetime.max.replace(tzinfo=timezone.utc), 5),
    ],
)
def test_time_is_limited_by_days_or_moments(db: Path, since: Any, until: Any, expected: int) -> None:
    starts = (NOON - DAY, NOON - DAY / 2, NOON, NOON + DAY / 2, NOON + DAY)
    with Ledger(db) as ledger:
        for started in starts:
            ledger(call("ann", started=started))
        (found,) = ledger.spend((), since=since, until=until)
        assert found.calls == expected
        assert ledger.total(since=since, until=until) == pytest.approx(0.002 * expected)


@pytest.mark.parametrize(
    ("question", "problem"),
    [
        ({"by": "mode"}, "by must be .*user, model, deployment, tag, day, provider.*'mode'"),
        ({"by": 5}, "by must be .*5"),
        ({"by": None}, "by must be .*None"),
        ({"by": [["user"]]}, r"by must be .*\['user'\]"),
        ({"since": datetime(2026, 11, 1)}, "since .*time zone"),  # noqa: DTZ001
        ({"until": datetime(2026, 11, 1)}, "until .*time zone"),  # noqa: DTZ001
        ({"since": "2026-11-01"}, "since must be a date"),
        ({"until": 5}, "until must be a date"),
        ({"user": 5}, "user must be a string, got int"),
        ({"tag": {}}, "tag must be a string, got dict"),
        ({"model": ["m"]}, "model must be a string, got list"),
    ],
)
def test_invalid_question_names_the_argument(db: Path, question: dict[str, Any], problem: str) -> None:
    with Ledger(db) as ledger, pytest.raises(BadRequestError, match=problem):
        ledger.spend(**question)


def test_names_with_replaced_characters_are_found_by_the_original(db: Path) -> None:
    odd = "a\0\ud800"
    with Ledger(db) as ledger:
        for name in (odd, "ann"):
            ledger(call(name, model_group=name, metadata={"tags": [name]}))
        questions: tuple[dict[str, Any], ...] = ({"user": odd}, {"tag": odd}, {"model": odd})
        for question in questions:
            (spend,) = ledger.spend((), **question)
            assert spend.calls == 1
            assert ledger.total(**question) == 0.002


ATTEMPTS = st.lists(
    st.builds(
        tried,
        st.sampled_from([COHERE, "cohere/rerank-v3", "voyage/rerank-2"]),
        cost=st.sampled_from([0.0, 0.25, 0.5, None]),
        error=st.sampled_from([None, None, "RateLimitError"]),
        status=st.sampled_from([200, 429]),
    ),
    min_size=1,
    max_size=4,
)
CALLS = st.lists(
    st.builds(
        call,
        st.sampled_from(["ann", "bob", None]),
        ATTEMPTS,
        metadata=st.builds(dict, tags=st.lists(st.sampled_from(["a", "b", "c"]), max_size=3)),
        started=st.sampled_from([NOON - DAY, NOON, NOON + DAY]),
        model_group=st.sampled_from([None, "best"]),
        response=st.just(answer([tried()], saved=0.125)),
    ),
    max_size=12,
)
GROUPS = ("user", "model", "deployment", "tag", "day", "provider")


def expected(events: Sequence[CallEvent], by: Sequence[str], only: dict[str, Any]) -> dict[tuple[Any, ...], Any]:
    """Calls, requests, failures, cost and unknown of each group, computed without SQL."""
    groups: dict[tuple[Any, ...], list[tuple[int, CallEvent, list[Any]]]] = defaultdict(list)
    for number, event in enumerate(events):
        tags = set(event.metadata["tags"])
        asked = event.model_group or COHERE
        if only.get("user") not in (None, event.user) or only.get("model") not in (None, asked):
            continue
        if only.get("tag") is not None and only["tag"] not in tags:
            continue
        day = date(2026, 11, 1) + timedelta(days=(event.started - NOON) // DAY)
        if not only["since"] <= day <= only["until"]:
            continue
        for deployment in {attempt.deployment for attempt in event.attempts}:
            tries = [attempt for attempt in event.attempts if attempt.deployment == deployment]
            for tag in (tags or {None}) if "tag" in by else {None}:
                known = {
                    "user": event.user,
                    "model": asked,
                    "deployment": deployment,
                    "tag": tag,
                    "day": day.isoformat(),
                    "provider": deployment.partition("/")[0],
                }
                groups[tuple(known[name] for name in by)].append((number, event, tries))
    found = {}
    for group, parts in groups.items():
        bills = [[attempt.cost for attempt in tries if attempt.status == 200] for _, _, tries in parts]
        priced = [sum(bill) for bill in bills if None not in bill]
        found[group] = (
            len({number for number, _, _ in parts}),
            sum(len(tries) for _, _, tries in parts),
            sum(attempt.error is not None for _, _, tries in parts for attempt in tries),
            sum(priced) if priced else None,
            len({number for (number, _, _), bill in zip(parts, bills, strict=True) if None in bill}),
        )
    return found


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    events=CALLS,
    by=st.lists(st.sampled_from(GROUPS), min_size=1, max_size=3, unique=True),
    only=st.fixed_dictionaries(
        {
            "user": st.sampled_from([None, "ann"]),
            "tag": st.sampled_from([None, "a"]),
            "model": st.sampled_from([None, "best"]),
            "since": st.sampled_from([date(2026, 10, 31), date(2026, 11, 1)]),
            "until": st.sampled_from([date(2026, 11, 1), date(2026, 11, 2)]),
        }
    ),
)
def test_spending_equals_a_computation_without_sql(
    events: list[CallEvent], by: list[Any], only: dict[str, Any]
) -> None:
    with tempfile.TemporaryDirectory() as folder, Ledger(Path(folder) / "spend.db", interval=NEVER) as ledger:
        for event in events:
            ledger(event)
        found = ledger.spend(by, **only)
        assert {
            tuple(spend.group.values()): (spend.calls, spend.requests, spend.failures, spend.cost, spend.unknown)
            for spend in found
        } == expected(events, by, only)
        costs = [-1.0 if spend.cost is None else spend.cost for spend in found]
        assert costs == sorted(costs, reverse=True)
        alone = expected(events, (), only).get((), (0, 0, 0, 0.0, 0))
        assert ledger.total(**only) == (alone[3] or 0.0)
