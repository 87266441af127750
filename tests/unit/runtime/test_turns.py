import asyncio
from contextlib import suppress
from itertools import groupby
from types import SimpleNamespace

import pytest

from anyrerank._core.runtime import Flow, HttpRequest, HttpResponse, arun

REQUEST = HttpRequest(method="POST", url="https://host.test/", headers={})
ANSWER = HttpResponse(status=200, headers={})


class Work:
    """Takes time of a clock of its own, and says in what order it was done."""

    def __init__(self) -> None:
        self.now = 0.0
        self.log: list[str] = []

    def do(self, milliseconds: float, name: str = "call") -> None:
        self.now += milliseconds / 1000
        self.log.append(name)

    def call(self, milliseconds: float) -> Flow[None]:
        """Work before a request and as much after it."""
        self.do(milliseconds)
        yield REQUEST
        self.do(milliseconds)

    async def other(self) -> None:
        """A task that works in every turn of the loop."""
        while True:
            self.do(0, "other")
            await asyncio.sleep(0)

    def pieces(self) -> list[int]:
        """How often calls went on before the other task did."""
        return [len(list(group)) for name, group in groupby(self.log) if name == "call"]


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Work:
    work = Work()
    monkeypatch.setattr("anyrerank._core.runtime.turns.time", SimpleNamespace(monotonic=lambda: work.now))
    return work


async def answer(_: HttpRequest) -> HttpResponse:
    return ANSWER


async def all_of(work: Work, calls: int, milliseconds: float) -> None:
    other = asyncio.create_task(work.other())
    await asyncio.gather(*(arun(work.call(milliseconds), answer) for _ in range(calls)))
    other.cancel()


async def test_many_calls_that_get_on_at_once_let_others_have_a_turn(work: Work) -> None:
    await all_of(work, 20, 3)
    assert sum(work.pieces()) == 40
    assert max(work.pieces()) == 4  # 8 ms are over in the third, and there are four places in a line


async def test_little_work_is_done_in_one_turn(work: Work) -> None:
    await all_of(work, 20, 0.1)
    assert work.pieces() == [40]


async def test_turns_are_as_full_as_they_may_be(work: Work) -> None:
    await all_of(work, 100, 1)
    assert sum(work.pieces()) == 200
    assert max(work.pieces()) <= 10
    assert len(work.pieces()) < 200 / 4


@pytest.mark.parametrize("hops", range(4))
async def test_who_came_first_goes_on_first(work: Work, hops: int) -> None:
    async def busy() -> None:
        while True:
            await arun(work.call(9), answer)

    async def newcomer(hops: int) -> None:
        if hops:
            await asyncio.create_task(newcomer(hops - 1))
        else:
            await arun(work.call(1), answer)

    others = [asyncio.create_task(busy()) for _ in range(5)]
    await asyncio.sleep(0)
    task = asyncio.create_task(newcomer(hops))
    work.log.clear()
    for _ in range(100):
        await asyncio.sleep(0)
    for other in others:
        other.cancel()
    assert task.done()
    assert len(work.log) > 20


async def test_a_quiet_time_before_makes_no_turn_longer(work: Work) -> None:
    for _ in range(100):
        await arun(work.call(0.1), answer)
        await asyncio.sleep(0)
    work.log.clear()
    await all_of(work, 50, 3)
    assert max(work.pieces()) == 4


async def test_who_leaves_the_line_holds_nobody_up(work: Work) -> None:
    calls = [asyncio.create_task(arun(work.call(9), answer)) for _ in range(6)]
    await asyncio.sleep(0)
    for call in calls[1::2]:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    assert [call.cancelled() for call in calls] == [False, True, False, True, False, True]


async def test_one_call_waits_for_nobody_else(work: Work) -> None:
    await all_of(work, 1, 4)
    assert work.pieces() == [2]


async def test_a_call_that_is_cancelled_before_its_next_turn_cleans_up(work: Work) -> None:
    def tidy() -> Flow[None]:
        try:
            yield REQUEST
        except asyncio.CancelledError:
            work.do(0, "cleaned up")
            raise

    async def after_long(_: HttpRequest) -> HttpResponse:
        work.do(10, "answered")
        return ANSWER

    task = asyncio.create_task(arun(tidy(), after_long))
    await asyncio.sleep(0)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert task.cancelled()
    assert work.log == ["answered", "cleaned up"]
