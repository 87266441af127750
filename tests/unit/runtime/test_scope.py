"""Flows with a sender and a deadline of their own."""

import time

import pytest
from tests.unit.runtime.flows import LONG, PASSED, Drive, Elsewhere, ask, content_of, echo, failing

from anyrerank._core.runtime import (
    Blocking,
    Deadline,
    Flow,
    Gather,
    Scope,
)
from anyrerank.errors import APITimeoutError


def test_scope_with_a_sender_sends_only_the_inner_requests_there(drive: Drive) -> None:
    def flow() -> Flow[list[str]]:
        before = yield from content_of("before")
        inner = yield Scope(content_of("inner"), sender=Elsewhere())
        after = yield from content_of("after")
        return [before, inner, after]

    assert drive(flow(), echo) == ["before", "elsewhere inner", "after"]


def test_scope_with_a_sender_applies_to_gathered_flows(drive: Drive) -> None:
    gather = ask(Gather([content_of("a"), content_of("b")], limit=2))
    assert drive(ask(Scope(gather, sender=Elsewhere()))) == ["elsewhere a", "elsewhere b"]


def test_error_inside_a_scope_can_be_caught_by_the_flow(drive: Drive) -> None:
    def careful() -> Flow[str]:
        try:
            yield Scope(ask(Blocking(failing)), sender=Elsewhere())
        except ValueError:
            return "caught"
        return "missed"

    assert drive(careful(), echo) == "caught"


@pytest.mark.parametrize(("outer", "inner", "expected"), [(20.0, 10.0, 10.0), (10.0, 20.0, 10.0)])
def test_scope_has_the_earlier_deadline(drive: Drive, outer: float, inner: float, expected: float) -> None:
    sender, start = Elsewhere(), time.monotonic() + LONG
    deadlines = {seconds: Deadline(start + seconds, seconds) for seconds in (outer, inner)}

    def flow() -> Flow[None]:
        yield Scope(content_of("a"), deadlines[inner], sender)
        yield Scope(content_of("b"), sender=sender)

    drive(flow(), deadline=deadlines[outer])
    assert sender.deadlines == [deadlines[expected], deadlines[outer]]


def test_scope_whose_deadline_has_passed_leaves_the_outer_flow_its_time(drive: Drive) -> None:
    def flow() -> Flow[str]:
        try:
            yield Scope(content_of("a"), PASSED)
        except APITimeoutError:
            return (yield from content_of("b"))
        return "missed"

    assert drive(flow(), echo, Deadline.after(LONG)) == "b"
