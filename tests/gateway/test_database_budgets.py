"""Budgets that replicas share through PostgreSQL, where there is no Redis."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from tests.support.keys import EACH, paid, serving
from tests.support.postgres_server import PostgresServer
from tests.support.waiting import eventually

from anyrerank import Budget, BudgetExceededError, StateUnavailableError
from anyrerank._core.pricing import reserved
from anyrerank._core.runtime import run
from anyrerank.errors import ConfigurationError
from anyrerank.gateway.keys import database_budgets
from anyrerank.gateway.keys.database import Database
from anyrerank.gateway.keys.database_budgets import DatabaseBudgets
from anyrerank.gateway.keys.sharing import sharing_of
from anyrerank.gateway.settings import GatewaySettings
from anyrerank.testing import StubServer

Replica = Callable[[], DatabaseBudgets]


@pytest.fixture
def replica(database_url: str) -> Iterator[Replica]:
    """Makes the state of one more replica."""
    with ExitStack() as opened:

        def made() -> DatabaseBudgets:
            database = opened.enter_context(closing(Database(database_url)))
            database.prepare()
            return opened.enter_context(closing(DatabaseBudgets(database)))

        yield made


def budget(state: DatabaseBudgets, dollars: float = 1.0, window: str | None = "1d", name: str = "team") -> Budget:
    return Budget(dollars, window, state=state, name=name)


def test_replicas_together_spend_no_more_than_there_is(replica: Replica) -> None:
    budgets = [budget(replica()) for _ in range(2)]
    outcomes: list[bool] = []

    def spend(mine: Budget) -> None:
        for _ in range(20):
            try:
                spending = run(reserved([(mine, None)], 0.02))
            except BudgetExceededError:
                outcomes.append(False)
            else:
                spending.settle(0.02)
                outcomes.append(True)

    threads = [threading.Thread(target=spend, args=(budgets[number % 2],)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (outcomes.count(True), outcomes.count(False)) == (50, 30)
    assert eventually(lambda: [each.spent() for each in budgets] == [1.0, 1.0])


def test_all_budgets_of_a_call_are_reserved_or_none(replica: Replica) -> None:
    state = replica()
    large, small = budget(state, 10.0, name="large"), budget(state, 0.1, name="small")
    with pytest.raises(BudgetExceededError, match=r"the end user's budget of \$0\.10 for 1d would be exceeded"):
        run(reserved([(large, None), (small, "ann")], 0.5))
    assert (large.left(), small.left("ann")) == (10.0, 0.1)


def test_a_reservation_of_a_replica_that_died_comes_back(replica: Replica, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_budgets, "_HOLD_SECONDS", -1.0)  # expired as soon as it is made
    run(reserved([(budget(replica()), None)], 1.0))
    assert budget(replica()).left() == 1.0


def test_a_new_window_begins_with_nothing_spent(replica: Replica) -> None:
    state = replica()
    old = budget(state, 1.0, "1s")
    run(reserved([(old, None)], 1.0)).settle(1.0)

    def is_whole() -> bool:
        return old.left() == 1.0

    assert eventually(is_whole)


def test_what_was_spent_before_is_asked_for_once(replica: Replica) -> None:
    asked: list[str | None] = []

    def past(spender: str | None, _: float) -> float:
        asked.append(spender)
        return 0.75

    budgets = [Budget(1.0) for _ in range(2)]
    for each in budgets:
        each.share(replica(), "all", past)
    assert [each.left() for each in budgets] == [0.25, 0.25]
    assert asked == [None]


def test_a_server_that_is_down_refuses_calls_and_gets_what_was_spent_later(
    new_postgres: Callable[..., PostgresServer],
) -> None:
    server = new_postgres()
    server.start()
    with closing(Database(server.url)) as database:
        database.prepare()
        with closing(DatabaseBudgets(database)) as state:
            mine = budget(state, window=None)
            spending = run(reserved([(mine, None)], 0.5))
            server.kill()
            spending.settle(0.4)
            with pytest.raises(
                StateUnavailableError, match="it is not known whether the budget allows this call"
            ) as error:
                run(reserved([(mine, None)], 0.1))
            assert error.value.retry_after == 1.0
            server.start()
            assert eventually(lambda: _spent(mine) == 0.4, within=30)
            assert mine.left() == pytest.approx(0.6)


def _spent(mine: Budget) -> float | None:
    try:
        return mine.spent()
    except StateUnavailableError:
        return None


def test_replicas_need_a_database_that_all_can_reach(tmp_path: Path) -> None:
    with closing(Database(f"sqlite:///{tmp_path / 'keys.db'}")) as database:
        assert sharing_of(GatewaySettings(), None, database) is None
        with pytest.raises(ConfigurationError, match="2 replicas need a redis_url, or a PostgreSQL database_url"):
            sharing_of(GatewaySettings(replicas=2), None, database)


def test_gateways_with_one_database_share_budgets_and_divide_limits(tmp_path: Path, database_url: str) -> None:
    with ExitStack() as opened, StubServer() as vendor:
        gateways = []
        for number in range(2):
            database = opened.enter_context(closing(Database(database_url)))
            database.prepare()
            sharing = sharing_of(GatewaySettings(replicas=2), None, database)
            folder = tmp_path / str(number)
            models = [paid(vendor.url)]
            gateways.append(opened.enter_context(serving(folder, models, url=database_url, sharing=sharing)))
        first, second = gateways
        poor = first.new_key(max_budget=3 * EACH)
        limited = first.new_key(rpm_limit=4)
        second.keyring.refresh()
        assert [each.rerank(poor).status_code for each in (first, second, first, second, first)] == [200] * 3 + [
            429
        ] * 2
        assert [each.rerank(limited).status_code for each in [first] * 3 + [second] * 3] == [200, 200, 429] * 2
        assert eventually(lambda: second.get("/key/info", poor).json()["info"]["spend"] == pytest.approx(3 * EACH))
