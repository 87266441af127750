"""Budgets in Redis: what several processes spend is never more than the limit, and nothing is lost or counted twice."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.redis_clock import TimedLink
from tests.support.spending import pay, spends

from anyrerank import Budget, BudgetExceededError
from anyrerank._core.pricing import Hold, RefusedError, SharedAccount
from anyrerank._core.pricing.spending import Spending, reserved
from anyrerank._core.redis.script import repeated
from anyrerank._core.runtime import arun, run
from anyrerank.errors import ConfigurationError, StateUnavailableError
from anyrerank.ledger import LedgerError
from anyrerank.state import RedisState
from anyrerank.state.budgets import RedisBudgets

CENT = 0.01
HOLD = 100.0


@pytest.fixture
def link(redis_url: str) -> Iterator[TimedLink]:
    with closing(TimedLink(redis_url)) as made:
        yield made


@pytest.fixture
def state(redis_url: str) -> Iterator[RedisState]:
    with RedisState(redis_url) as made:
        yield made


def budgets_of(link: TimedLink, *, refuse_when_away: bool = True) -> RedisBudgets:
    return RedisBudgets(link, "test", refuse_when_away=refuse_when_away, hold_seconds=HOLD)


def account(name: str = "a", dollars: float = 1.0, seconds: float = float("inf"), past: Any = None) -> SharedAccount:
    return SharedAccount(name, dollars, seconds, past)


def hold(budgets: RedisBudgets, dollars: float, *accounts: SharedAccount) -> Hold:
    return run(budgets.reserve(accounts, dollars))


def found(budgets: RedisBudgets, of: SharedAccount) -> tuple[float, float]:
    balance = run(budgets.found(of))
    return balance.spent, balance.reserved


@dataclass
class Model:
    """What three accounts should have: holds as (account, amount, expiry), in cents."""

    limits: tuple[int, ...]
    now: float
    windows: tuple[float, ...]
    spent: dict[int, int] = field(default_factory=dict)
    holds: dict[int, tuple[tuple[int, ...], int, float]] = field(default_factory=dict)
    window: dict[int, float] = field(default_factory=dict)

    def turn(self, index: int) -> None:
        window = self.now // self.windows[index]
        if self.window.setdefault(index, window) != window:
            self.window[index], self.spent[index] = window, 0
            self.holds = {
                number: (tuple(each for each in where if each != index), amount, until)
                for number, (where, amount, until) in self.holds.items()
            }

    def reserved(self, index: int) -> int:
        return sum(amount for where, amount, until in self.holds.values() if index in where and until > self.now)

    def reserve(self, number: int, where: tuple[int, ...], amount: int) -> bool:
        for each in where:
            self.turn(each)
        if amount and any(self.spent.get(i, 0) + self.reserved(i) + amount > self.limits[i] for i in where):
            return False
        self.holds[number] = (where, amount, self.now + HOLD)
        return True

    def settle(self, number: int, where: tuple[int, ...], cost: int) -> None:
        self.holds.pop(number, None)
        for each in where:
            self.turn(each)
            self.spent[each] = self.spent.get(each, 0) + cost


_SUBSETS = st.sets(st.integers(0, 2), min_size=1).map(lambda found: tuple(sorted(found)))
_STEPS = st.one_of(
    st.tuples(st.just("reserve"), _SUBSETS, st.integers(0, 60)),
    st.tuples(st.just("settle"), st.integers(0, 5), st.integers(0, 60)),
    st.tuples(st.just("move"), st.sampled_from([0.5, 30.0, 101.0, 3600.0]), st.just(0)),
)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(_STEPS, max_size=25), limits=st.tuples(*[st.integers(0, 150)] * 3))
def test_any_sequence_leaves_what_a_simple_model_has(
    steps: list[tuple[str, Any, int]], limits: tuple[int, int, int], link: TimedLink
) -> None:
    link.empty()
    budgets = budgets_of(link)
    windows = (float("inf"), 60.0, 3600.0)
    accounts = [account(str(i), limits[i] * CENT, windows[i]) for i in range(3)]
    model = Model(limits, link.now, windows)
    holds: list[tuple[int, tuple[int, ...], Hold]] = []
    for number, (what, first, amount) in enumerate(steps):
        if what == "move":
            link.move(first)
            model.now = link.now
        elif what == "reserve":
            expected = model.reserve(number, first, amount)
            try:
                holds.append((number, first, hold(budgets, amount * CENT, *(accounts[each] for each in first))))
            except RefusedError:
                assert not expected
            else:
                assert expected
        elif holds:
            which, where, made = holds.pop(first % len(holds))
            budgets.settle(made, amount * CENT)
            model.settle(which, where, amount)
        for index, each in enumerate(accounts):
            model.turn(index)
            expected_balance = (model.spent.get(index, 0) * CENT, model.reserved(index) * CENT)
            assert found(budgets, each) == pytest.approx(expected_balance, abs=1e-9)


def test_threads_and_loops_with_states_of_their_own_never_overspend(redis_url: str) -> None:
    spent: list[bool] = []

    def in_a_thread() -> None:
        with RedisState(redis_url, timeout=5.0) as state:
            budget = Budget(1.0, state=state, name="race")
            spent.extend([spends(budget, CENT) for _ in range(30)])

    async def on_a_loop() -> None:
        async with RedisState(redis_url, timeout=5.0) as state:
            budget = Budget(1.0, state=state, name="race")

            async def one() -> bool:
                try:
                    spending = await arun(reserved([(budget, None)], CENT))
                except BudgetExceededError:
                    return False
                await asyncio.sleep(0)
                spending.settle(CENT)
                return True

            spent.extend(await asyncio.gather(*(one() for _ in range(30))))

    threads = [threading.Thread(target=in_a_thread) for _ in range(3)]
    threads += [threading.Thread(target=asyncio.run, args=(on_a_loop(),)) for _ in range(3)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert (len(spent), sum(spent)) == (180, 100)
    with RedisState(redis_url, timeout=5.0) as state:
        assert Budget(1.0, state=state, name="race").left() == pytest.approx(0.0)


def test_several_budgets_are_reserved_together_or_not_at_all(state: RedisState) -> None:
    large, small = Budget(1, state=state, name="large"), Budget(0.1, state=state, name="small")
    own = Budget(1)
    with pytest.raises(BudgetExceededError, match=r"the budget of \$0\.10"):
        pay(own, 0.2, large, small)
    assert (own.left(), large.left(), small.left()) == (1, 1, 0.1)
    pay(own, 0.05, large, small).settle(0.02)
    assert (own.spent(), large.spent(), small.spent()) == (0.02, 0.02, 0.02)


async def test_cancelled_reservations_come_back(redis_url: str) -> None:
    async with RedisState(redis_url, timeout=5.0) as state:
        budget = Budget(1, state=state, name="cancelled")
        await arun(reserved([(budget, None)], 0))
        for steps in range(12):
            task = asyncio.ensure_future(arun(reserved([(budget, None)], 0.5)))
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            done = (await asyncio.gather(task, return_exceptions=True))[0]
            if isinstance(done, Spending):
                done.settle(0.0)
            await state.link.acall(("PING",))  # what the server did not know runs after the rest of its pipeline
            found = await arun(state.budgets.found(budget.account(None)))
            assert (found.spent, found.reserved) == (0, 0)


def test_reservation_of_a_process_that_was_killed_comes_back(link: TimedLink) -> None:
    budgets, one = budgets_of(link), account()
    hold(budgets, 0.7, one)
    with pytest.raises(RefusedError):
        hold(budgets, 0.7, one)
    link.move(HOLD + 1)
    hold(budgets, 0.7, one)


def test_cost_of_a_call_that_outlives_its_reservation_counts(link: TimedLink) -> None:
    budgets, one = budgets_of(link), account()
    made = hold(budgets, 0.7, one)
    link.move(HOLD + 1)
    assert found(budgets, one) == (0, 0)
    budgets.settle(made, 0.6)
    assert found(budgets, one) == (0.6, 0)


def test_new_window_starts_empty_and_gets_the_cost_of_calls_that_end_in_it(link: TimedLink) -> None:
    budgets, one = budgets_of(link), account(seconds=50.0)
    budgets.settle(hold(budgets, 0.3, one), 0.3)
    made = hold(budgets, 0.7, one)
    link.move(50)
    assert found(budgets, one) == (0, 0)
    budgets.settle(made, 0.2)
    assert found(budgets, one) == (0.2, 0)


@pytest.mark.parametrize("is_held", [True, False])
@pytest.mark.parametrize("is_confirmed", [True, False])
def test_settlement_whose_reply_was_lost_counts_once(link: TimedLink, *, is_held: bool, is_confirmed: bool) -> None:
    budgets, one = budgets_of(link), account()
    sent: list[Any] = []
    made = replace(hold(budgets, 0.7 if is_held else 0.0, one), dollars=0.7, is_confirmed=is_confirmed)
    post, link.post = link.post, sent.append  # type: ignore[method-assign, assignment]
    budgets.settle(made, 0.4)
    first = sent[0] if is_held or is_confirmed else repeated(sent[0])  # what only this process decided on is not held
    for command in (first, repeated(sent[0]), repeated(sent[0])):
        post(command)
        assert found(budgets, one) == (0.4, 0)


def test_settlement_that_arrives_after_its_repetition_counts_once(link: TimedLink) -> None:
    budgets, one = budgets_of(link), account()
    made = hold(budgets, 0.7, one)
    sent: list[Any] = []
    post, link.post = link.post, sent.append  # type: ignore[method-assign, assignment]
    budgets.settle(made, 0.4)
    for command in (repeated(sent[0]), sent[0], repeated(sent[0])):
        post(command)
        assert found(budgets, one) == (0.4, 0)


def test_settlement_that_never_arrived_counts_when_it_is_repeated(link: TimedLink) -> None:
    budgets, one = budgets_of(link), account()
    post, link.post = link.post, lambda command: post(repeated(command))  # type: ignore[method-assign]
    budgets.settle(hold(budgets, 0.7, one), 0.4)
    assert found(budgets, one) == (0.4, 0)


def test_budget_without_a_past_starts_anew_after_the_server_lost_its_data(link: TimedLink) -> None:
    budgets, one = budgets_of(link), account()
    made = hold(budgets, 0.7, one)
    link.empty()
    budgets.settle(made, 0.4)
    assert found(budgets, one) == (0, 0)


def test_budget_with_a_past_goes_on_from_it_after_the_server_lost_its_data(link: TimedLink) -> None:
    budgets, asked = budgets_of(link), []

    def past(_: float) -> float:
        asked.append(1)
        return 0.8

    one = account(past=past)
    for _ in range(2):
        with pytest.raises(RefusedError) as refused:
            hold(budgets, 0.3, one)
        assert refused.value.found.spent == 0.8
    assert len(asked) == 1
    link.empty()
    hold(budgets, 0.2, one)
    assert found(budgets, one) == (0.8, 0.2)


def test_call_that_ends_before_a_lost_budget_begins_anew_does_not_count_twice_for_long(link: TimedLink) -> None:
    budgets, paid = budgets_of(link), account(past=lambda _: 0.3)
    call = hold(budgets, 0.25, paid)
    link.empty()
    budgets.lost("a loss")
    budgets.settle(call, 0.25)
    assert found(budgets, paid) == (0.3, 0.25)
    link.move(31)
    assert found(budgets, paid) == (0.3, 0.0)


async def test_past_is_read_for_many_calls_together(redis_url: str) -> None:
    asked: list[int] = []

    def past(_: float) -> float:
        asked.append(1)
        time.sleep(0.05)
        return 0.1

    async with RedisState(redis_url, timeout=5.0) as state:
        calls = [arun(state.budgets.reserve([account(past=past)], 0.01)) for _ in range(30)]
        holds = await asyncio.gather(*calls)
    assert max(each.found[0].reserved for each in holds) == 0.3
    assert len(asked) <= 2  # calls that come while it is read get what is read after that


def test_past_is_read_again_when_the_server_loses_its_data_soon_after(link: TimedLink) -> None:
    spent = [0.0]
    budgets, one = budgets_of(link), account(past=lambda _: spent[0])
    budgets.settle(hold(budgets, 0.4, one), 0.4)
    spent[0] = 0.4
    link.empty()
    assert found(budgets, one) == (0.4, 0)


def test_past_begins_when_the_window_of_the_server_does(link: TimedLink) -> None:
    asked: list[float] = []

    def past(started: float) -> float:
        asked.append(started)
        return 0.5

    assert found(budgets_of(link), account(seconds=3600.0, past=past)) == (0.5, 0)
    assert found(budgets_of(link), account("ever", past=past)) == (0.5, 0)
    assert asked == [link.now // 3600 * 3600, 0.0]


def test_call_is_refused_while_the_past_is_not_known(link: TimedLink) -> None:
    def past(_: float) -> float:
        raise LedgerError("the database does not answer")

    budgets = budgets_of(link)
    with pytest.raises(StateUnavailableError, match="the database does not answer"):
        hold(budgets, 0.1, account("b"), account(past=past))
    assert found(budgets, account("b")) == (0, 0)


@pytest.mark.parametrize(
    ("limit", "cost", "calls"),
    [(3e-9, 1e-9, 3), (0.3, 0.1, 3), (1e-6, 3e-7, 3), (8_000_000.0, 2_000_000.0, 4), (0.0, 0.0, 5)],
)
def test_tiny_and_huge_amounts_are_exact(state: RedisState, limit: float, cost: float, calls: int) -> None:
    budget = Budget(limit, state=state, name="money")
    assert [spends(budget, cost) for _ in range(calls)] == [True] * calls
    assert budget.spent() == pytest.approx(calls * cost, rel=1e-12)
    assert not spends(budget, max(cost, 1e-9) * 1.01)


def test_sums_of_many_payments_do_not_drift(state: RedisState) -> None:
    budget = Budget(1.0, state=state, name="drift")
    for _ in range(100):
        pay(budget, 0.009).settle(0.001)
    assert budget.spent() == 0.1


def test_end_users_have_budgets_of_their_own(state: RedisState) -> None:
    budget = Budget(0.1, "1d", state=state, name="user")
    users = ["ann", "bob", "a:b", "\ud800", ""]
    for user in users:
        run(reserved([(budget, user)], 0.1)).settle(0.1)
        with pytest.raises(BudgetExceededError, match="the end user's budget"):
            run(reserved([(budget, user)], 0.1))
    assert [budget.spent(user) for user in (*users, "zoe", None)] == [0.1] * 5 + [0, 0]


def test_budgets_whose_names_look_alike_are_not_the_same(state: RedisState) -> None:
    names = ["a", "a:reservations", "reservations:a", "a:inf", "\udc80", "ä", ":"]
    made = [Budget(1, window, state=state, name=name) for name in names for window in (None, "1d", "1h")]
    for number, each in enumerate(made):
        pay(each, 0.3)
        pay(each, 0.01).settle(number / 100)
    assert [each.spent() for each in made] == [number / 100 for number in range(len(made))]


def test_replicas_with_different_windows_do_not_reset_each_other(state: RedisState) -> None:
    before, after = Budget(1, "1d", state=state, name="same"), Budget(1, "30d", state=state, name="same")
    for _ in range(2):
        assert spends(before, 0.2)
        assert spends(after, 0.1)
    assert (before.spent(), after.spent()) == (0.4, 0.2)


def test_spending_elsewhere_can_be_added(state: RedisState) -> None:
    budget = Budget(1, state=state, name="added")
    budget.add(0.4)
    budget.add(0.2, "ann")
    assert (budget.spent(), budget.spent("ann"), budget.left()) == (0.4, 0.2, 0.6)


@pytest.mark.parametrize("given", [{"state": object()}, {"name": "a"}, {"state": object(), "name": ""}])
def test_state_and_name_go_together(given: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="both state= and name="):
        Budget(1, **given)
