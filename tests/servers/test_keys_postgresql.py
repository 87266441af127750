"""Keys, budgets and spend of a gateway on a real PostgreSQL server."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from anyrerank.errors import ConfigurationError
from anyrerank.gateway.keys import Database, DatabaseError, opened
from anyrerank.gateway.settings import settings_of
from anyrerank.testing import StubServer
from tests.servers.test_ledger_postgresql import INITDB, PASSWORD, Server
from tests.support.gateway import MASTER_KEY
from tests.support.keys import EACH, keyring_of, paid, serving

pytest.importorskip("psycopg")
pytestmark = pytest.mark.skipif(INITDB is None, reason="PostgreSQL is not installed")


@pytest.fixture
def server() -> Iterator[Server]:
    with tempfile.TemporaryDirectory() as folder:
        found = Server(Path(folder))
        found.start()
        yield found
        found.stop()


def test_keys_and_spend_survive_a_restart(server: Server, tmp_path: Path) -> None:
    url = server.url()
    with StubServer() as vendor:
        with serving(tmp_path, [paid(vendor.url)], url=url) as gateway:
            key = gateway.new_key(key_alias="rag", max_budget=2 * EACH, metadata={"a": 1})
            assert gateway.rerank(key, user="ann").status_code == 200
            assert gateway.post("/key/generate", key_alias="rag").status_code == 400
            changed = gateway.post("/key/update", key=key, metadata={"b": 2}).json()
            assert changed["metadata"] == {"a": 1, "b": 2}
        with serving(tmp_path, [paid(vendor.url)], url=url) as gateway:
            assert [gateway.rerank(key).status_code for _ in range(2)] == [200, 429]
            (row,) = gateway.get("/spend/keys", MASTER_KEY).json()
            assert (row["key_alias"], row["spend"]) == ("rag", pytest.approx(2 * EACH))
            gateway.post("/key/delete", keys=[key])
            assert gateway.rerank(key).status_code == 401


def test_gateways_that_start_together_make_the_tables_once(server: Server) -> None:
    command = [sys.executable, "-m", "anyrerank", "keys", "list", "--db", server.url()]
    processes = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for _ in range(4)]  # noqa: S603
    assert [each.wait(60) for each in processes] == [0] * 4
    with closing(Database(server.url())) as database:
        assert database.version() == "1"


def test_error_shows_no_password(server: Server, tmp_path: Path) -> None:
    server.stop()
    with pytest.raises(DatabaseError) as caught:
        keyring_of(tmp_path, url=server.url())
    with pytest.raises(ConfigurationError) as refused:
        opened(settings_of({"master_key": "sk-m", "database_url": server.url()}, "test"))
    server.start()
    for message in (str(caught.value), str(refused.value)):
        assert PASSWORD not in message
        assert "cannot be used" in message
