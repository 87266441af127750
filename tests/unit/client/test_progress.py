import importlib.util
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import httpx
import orjson
import pytest

from anyrerank._core.client import Bar, Reranker, progress
from anyrerank.errors import AuthenticationError, ConfigurationError, RerankError


class Tqdm:
    """Records the calls of tqdm."""

    made: list["Tqdm"]

    def __init__(self, **given: Any) -> None:
        self.given, self.steps, self.closed = given, 0, False
        self.made.append(self)

    def update(self, steps: int) -> None:
        assert not self.closed
        self.steps += steps

    def close(self) -> None:
        self.closed = True


def use(monkeypatch: pytest.MonkeyPatch, installed: Sequence[str], shell: str | None = None) -> list[Tqdm]:
    """Pretend that these packages are installed, and that this IPython shell is running; returns the bars."""
    made: list[Tqdm] = []
    kind = type("RecordingTqdm", (Tqdm,), {"made": made})
    for name in ("tqdm", "tqdm.auto"):
        module = ModuleType(name)
        module.__dict__["tqdm"] = kind
        monkeypatch.setitem(sys.modules, name, module)
    real = importlib.util.find_spec

    def find_spec(name: str) -> Any:
        if name in {"tqdm", "ipywidgets"}:
            return object() if name in installed else None
        return real(name)

    monkeypatch.setattr(progress, "find_spec", find_spec)
    if shell is None:
        monkeypatch.delitem(sys.modules, "IPython", raising=False)
    else:
        ipython = ModuleType("IPython")
        ipython.__dict__["get_ipython"] = type(shell, (), {})
        monkeypatch.setitem(sys.modules, "IPython", ipython)
    return made


NOTEBOOK, TERMINAL = "ZMQInteractiveShell", "TerminalInteractiveShell"
BOTH = ("tqdm", "ipywidgets")


@pytest.mark.parametrize(
    ("shown", "installed", "shell", "bars"),
    [
        (None, BOTH, NOTEBOOK, 1),
        (None, BOTH, TERMINAL, 0),
        (None, BOTH, None, 0),
        (None, ["tqdm"], NOTEBOOK, 0),
        (None, ["ipywidgets"], NOTEBOOK, 0),
        (False, BOTH, NOTEBOOK, 0),
        (False, [], None, 0),
        (True, BOTH, None, 1),
        (True, ["tqdm"], None, 1),
        (True, ["tqdm"], NOTEBOOK, 1),
    ],
)
def test_bar_is_shown_on_request_or_in_a_notebook(
    shown: bool | None, installed: Sequence[str], shell: str | None, bars: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = use(monkeypatch, installed, shell)
    with Bar(2, shown) as bar:
        bar.advance()
        bar.advance()
    assert [(tqdm.given["total"], tqdm.steps, tqdm.closed) for tqdm in made] == [(2, 2, True)] * bars


def test_missing_tqdm_is_an_error_with_the_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, [])
    with pytest.raises(ConfigurationError, match=r"pip install 'anyrerank\[notebook\]'"):
        Bar(2, shown=True)


def test_bar_is_closed_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    made = use(monkeypatch, BOTH)
    with pytest.raises(ZeroDivisionError), Bar(2, shown=True):
        raise ZeroDivisionError
    assert [tqdm.closed for tqdm in made] == [True]


def answer(request: httpx.Request) -> httpx.Response:
    body = orjson.loads(request.content)
    if body["query"] == "refused":
        return httpx.Response(401, json={"message": "no"})
    rows = [{"index": index, "relevance_score": 0.5} for index in range(len(body["documents"]))]
    return httpx.Response(200, json={"results": rows})


def reranker() -> Reranker:
    client = httpx.Client(transport=httpx.MockTransport(answer))
    return Reranker("cohere/m", api_key="key", http_client=client, max_concurrency=1)


def test_bar_advances_with_each_query(monkeypatch: pytest.MonkeyPatch) -> None:
    made = use(monkeypatch, BOTH)
    reranker().rerank_many(["a", "b", "c"], [["x"]] * 3, progress=True)
    reranker().rerank_many(["a"], [["x"]], progress=True)
    assert [(tqdm.given["total"], tqdm.steps, tqdm.closed) for tqdm in made] == [(3, 3, True), (1, 1, True)]


def test_bar_advances_with_failed_queries_that_are_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    made = use(monkeypatch, BOTH)
    answers = reranker().rerank_many(["a", "refused"], [["x"]] * 2, progress=True, return_exceptions=True)
    assert [isinstance(each, RerankError) for each in answers] == [False, True]
    assert [(tqdm.steps, tqdm.closed) for tqdm in made] == [(2, True)]


def test_bar_is_closed_after_the_error_of_a_query(monkeypatch: pytest.MonkeyPatch) -> None:
    made = use(monkeypatch, BOTH)
    with pytest.raises(AuthenticationError):
        reranker().rerank_many(["a", "refused", "b"], [["x"]] * 3, progress=True)
    assert [(tqdm.steps, tqdm.closed) for tqdm in made] == [(1, True)]


def test_bar_is_not_shown_in_a_script(monkeypatch: pytest.MonkeyPatch) -> None:
    made = use(monkeypatch, BOTH)
    reranker().rerank_many(["a"], [["x"]])
    assert made == []


async def test_async_calls_show_the_same_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    made = use(monkeypatch, BOTH)
    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        asynchronous = Reranker("cohere/m", api_key="key", http_client=client)
        await asynchronous.arerank_many(["a", "b", "c"], [["x"]] * 3, progress=True)
    assert [(tqdm.given["total"], tqdm.steps, tqdm.closed) for tqdm in made] == [(3, 3, True)]
