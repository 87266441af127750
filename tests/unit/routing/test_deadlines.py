"""How the time of a call is shared among deployments and names."""

from __future__ import annotations

import time
from collections.abc import Callable

import httpx
import pytest
from tests.support.clock import Clock
from tests.support.frameworks import Answer
from tests.support.harness import Mode
from tests.support.loopback import Loopback
from tests.support.routing import World, Worlds, entry, fails, ids

from anyrerank import APITimeoutError, FallbackError, Router


def hanging(clock: Clock, spent: list[float]) -> Answer:
    """Answers nothing until the time of a request is over; adds that time to `spent`."""

    def answer(request: httpx.Request) -> httpx.Response:
        spent.append(request.extensions["timeout"]["read"])
        clock.now += spent[-1] + 0.01
        raise httpx.ReadTimeout("made by the test")

    return answer


@pytest.mark.parametrize("timeout", [60.0, 6.0])
def test_hanging_deployments_leave_the_others_their_share(world: Worlds, clock: Clock, timeout: float) -> None:
    spent: list[float] = []
    here = world(a=hanging(clock, spent), b=hanging(clock, spent))
    began = clock.now
    router = here.router(entry("a"), entry("b"), entry("c", "spare"), fallbacks={"r": ["spare"]}, timeout=timeout)
    assert ids(here.ask(router)) == ["a", "b", "c"]
    assert spent == pytest.approx([timeout / 3] * 2, abs=0.1)
    assert clock.now - began < timeout * 0.7


@pytest.mark.parametrize("names", [1, 2, 3])
def test_deployments_that_all_hang_end_with_the_deadline(world: Worlds, clock: Clock, names: int) -> None:
    spent: list[float] = []
    here = world(**dict.fromkeys("abcdef", hanging(clock, spent)))
    entries = [entry("abcdef"[2 * name + each], f"n{name}") for name in range(names) for each in range(2)]
    router = here.router(*entries, fallbacks={"n0": [f"n{name}" for name in range(1, names)]}, timeout=12.0)
    began = clock.now
    error = here.error(router, "n0")
    assert isinstance(error, FallbackError)
    assert {type(each) for each in error.errors} == {APITimeoutError}
    assert clock.now - began == pytest.approx(12.0, abs=0.5)
    assert here.asked == list("abcdef"[: 2 * names])


def test_a_hanging_only_deployment_leaves_its_fallback_half_of_the_time(world: Worlds, clock: Clock) -> None:
    spent: list[float] = []
    here = world(a=hanging(clock, spent))
    router = here.router(entry("a"), entry("b", "spare"), fallbacks={"r": ["spare"]}, timeout=60.0)
    began = clock.now
    assert ids(here.ask(router)) == ["a", "b"]
    assert clock.now - began == pytest.approx(30.0, abs=1.0)


def test_deployments_beyond_the_retries_have_no_share(world: Worlds, clock: Clock) -> None:
    spent: list[float] = []
    here = world(a=hanging(clock, spent))
    entries = [*map(entry, "abc"), entry("x", "x")]
    here.error(here.router(*entries, num_retries=0, timeout=60.0))
    assert ids(here.ask(here.router(*entries, num_retries=0, timeout=60.0, default_fallbacks=["x"]))) == ["a", "x"]
    assert spent == pytest.approx([60.0, 30.0], abs=0.1)


def test_a_deployment_is_asked_for_at_most_its_own_timeout(world: Worlds, clock: Clock) -> None:
    spent: list[float] = []
    here = world(a=hanging(clock, spent), b=hanging(clock, spent))
    router = here.router(entry("a", timeout=2), entry("b", timeout=100), num_retries=1)
    here.error(router)
    assert spent == [pytest.approx(2.0, rel=0.05), pytest.approx(58.0, rel=0.05)]
    spent.clear()
    clock.now += 1000
    here.error(here.router(entry("a", timeout=2), num_retries=0, timeout=None))
    assert spent == [pytest.approx(2.0, rel=0.05)]


def test_no_timeout_means_no_deadline(world: Worlds) -> None:
    here = world(a=fails(), b=fails())
    here.error(here.router(timeout=None))
    for request in here.requests:
        assert request.extensions["timeout"]["read"] in (None, 5.0)


def test_a_tiny_timeout_ends_in_a_timeout_error(mode: Mode, serve: Callable[..., Loopback]) -> None:
    servers = [serve(lambda line: line.client_left() or None) for _ in range(2)]
    entries = [entry(str(number), api_base=each.url) for number, each in enumerate(servers)]
    with Router(entries, timeout=0.05) as router:
        began = time.monotonic()
        with pytest.raises((FallbackError, APITimeoutError)):
            World(mode, Clock()).ask(router)
        assert time.monotonic() - began < 2.0
        assert [each.in_flight for each in router.deployment_status()] == [0, 0]
        if mode.asynchronous:
            mode.run(router.aclose())
