"""A cache file between processes: shared from its first moment, forked, killed, left open."""

from __future__ import annotations

import gc
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from tests.support.processes import needs_fork

from anyrerank.cache import SQLiteCache


def numbered(start: int, end: int) -> dict[bytes, bytes]:
    """Entries in order, each with a value that tells which it is."""
    return {b"%032d" % number: b"%012d" % number for number in range(start, end)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "scores.db"


def start(script: str, *arguments: object) -> subprocess.Popen[str]:
    """A process that runs `script`, which may call `numbered` too."""
    own = "import os, sys, threading\nfrom anyrerank.cache import MemoryCache, SQLiteCache\n"
    own += "from anyrerank.cache import sqlite as sqlite_cache\nsqlite_cache._BUSY = 30.0  # however slow the machine\n"
    own += "def numbered(start, end): return {b'%032d' % n: b'%012d' % n for n in range(start, end)}\n"
    command = [sys.executable, "-W", "error", "-W", "ignore::DeprecationWarning", "-c", own + script]
    pipe = subprocess.PIPE
    return subprocess.Popen([*command, *map(str, arguments)], stdout=pipe, stderr=pipe, text=True)  # noqa: S603


def finished(process: subprocess.Popen[str]) -> str:
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
    return output


def test_processes_share_a_file_from_its_first_moment(path: Path) -> None:
    script = """
first = int(sys.argv[2])
cache = SQLiteCache(sys.argv[1])
for start in range(first, first + 500, 10):
    cache.put(numbered(start, start + 10))
    assert cache.get(list(numbered(first, start + 10))) == numbered(first, start + 10)
    assert cache.get(list(numbered(0, 2000))).items() <= numbered(0, 2000).items()
cache.close()
"""
    for process in [start(script, path, first) for first in (0, 500, 1000, 1500)]:
        finished(process)
    with SQLiteCache(path) as cache:
        assert cache.get(list(numbered(0, 2000))) == numbered(0, 2000)


def test_a_killed_process_leaves_what_it_put(path: Path) -> None:
    script = """
cache = SQLiteCache(sys.argv[1])
for start in range(0, 10**9, 10):
    cache.put(numbered(start, start + 10))
    print(start + 10, flush=True)
"""
    process = start(script, path)
    assert process.stdout
    last = [process.stdout.readline() for _ in range(20)][-1]
    process.kill()
    process.communicate()
    with SQLiteCache(path) as cache:
        assert cache.get(list(numbered(0, int(last)))) == numbered(0, int(last))
        cache.put(numbered(0, 1))
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@needs_fork
def test_a_forked_child_loses_nothing_when_others_close_the_file(path: Path) -> None:
    script = """
import subprocess
cache = SQLiteCache(sys.argv[1])
cache.put(numbered(0, 10))
ready, go = os.pipe(), os.pipe()
if not (child := os.fork()):
    cache.put(numbered(10, 20))
    os.write(ready[1], b".")
    os.read(go[0], 1)
    cache.put(numbered(20, 30))
    os._exit(0)
os.read(ready[0], 1)
cache.put(numbered(30, 40))
cache.close()
other = "import sys; from anyrerank import SQLiteCache; SQLiteCache(sys.argv[1]).put({b'other': b'value'})"
subprocess.run([sys.executable, "-c", other, sys.argv[1]], check=True)
os.write(go[1], b".")
sys.exit(os.waitpid(child, 0)[1])
"""
    finished(start(script, path))
    with SQLiteCache(path) as cache:
        assert cache.get([*numbered(0, 40), b"other"]) == numbered(0, 40) | {b"other": b"value"}


@needs_fork
@pytest.mark.parametrize(("made", "may_be_empty"), [("MemoryCache()", True), ("SQLiteCache(sys.argv[1])", False)])
def test_a_child_may_be_forked_while_threads_use_the_store(path: Path, made: str, may_be_empty: bool) -> None:
    script = f"""
cache, over = {made}, threading.Event()
cache.put(numbered(0, 100))
def use():
    while not over.is_set():
        cache.put(numbered(100, 200))
        cache.get(list(numbered(0, 200)))
threads = [threading.Thread(target=use) for _ in range(3)]
[thread.start() for thread in threads]
status = 0
for _ in range(20):
    if not (child := os.fork()):
        kept = cache.get(list(numbered(0, 100)))
        cache.put(numbered(200, 210))
        os._exit(kept != numbered(0, 100) and not ({may_be_empty} and not kept))
    status |= os.waitpid(child, 0)[1]
over.set()
[thread.join() for thread in threads]
cache.close()
sys.exit(status != 0)
"""
    finished(start(script, path))


def test_a_cache_that_nobody_closed_closes_itself(path: Path) -> None:
    cache = SQLiteCache(path)
    cache.put(numbered(0, 5))
    del cache
    gc.collect()
    assert [child.name for child in path.parent.iterdir()] == [path.name]
    finished(start("cache = SQLiteCache(sys.argv[1])\ncache.put(numbered(5, 10))", path))
    assert [child.name for child in path.parent.iterdir()] == [path.name]
    with SQLiteCache(path) as cache:
        assert cache.get(list(numbered(0, 10))) == numbered(0, 10)
