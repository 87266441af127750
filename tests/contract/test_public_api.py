import copy
import inspect
import pickle
from collections.abc import Callable
from types import ModuleType
from typing import Any

import httpx
import pytest
from tests.support.loopback import Loopback, well

import anyrerank
from anyrerank import Reranker, arerank, rerank
from anyrerank._core.engine import Options

COHERE, NIM = "cohere/rerank-v3.5", "nvidia_nim/nvidia/rerank-qa"
PARAMETERS = inspect.signature(rerank).parameters
OF_RERANKER = inspect.signature(Reranker).parameters
OF_A_CALL = {"query", "documents"}
VAR_KEYWORD = inspect.Parameter.VAR_KEYWORD


def test_all_lists_the_public_names() -> None:
    public = {
        name
        for name in dir(anyrerank)
        if not name.startswith("_") and not isinstance(getattr(anyrerank, name), ModuleType)
    }
    assert set(anyrerank.__all__) == public | {"__version__"}
    assert list(anyrerank.__all__) == sorted(
        anyrerank.__all__, key=lambda name: (name[0].islower(), name[0] == "_", name)
    )


def test_star_import_gives_the_public_names() -> None:
    given: dict[str, Any] = {}
    exec("from anyrerank import *", given)  # noqa: S102
    assert given.keys() - {"__builtins__"} == set(anyrerank.__all__)


def test_every_error_is_public() -> None:
    defined = {
        name
        for name, value in vars(anyrerank.errors).items()
        if isinstance(value, type) and issubclass(value, anyrerank.RerankError)
    }
    assert defined <= set(anyrerank.__all__)


def test_rerank_and_arerank_have_the_same_signature() -> None:
    assert inspect.signature(rerank) == inspect.signature(arerank)
    assert arerank.__name__ == "arerank"
    assert arerank.__doc__ == rerank.__doc__
    assert inspect.iscoroutinefunction(arerank)
    assert not inspect.iscoroutinefunction(rerank)


@pytest.mark.parametrize("name", ["rerank", "rerank_many"])
def test_sync_and_async_methods_have_the_same_signature(name: str) -> None:
    sync, asynchronous = getattr(Reranker, name), getattr(Reranker, f"a{name}")
    assert inspect.signature(sync) == inspect.signature(asynchronous)
    assert asynchronous.__name__ == f"a{name}"
    assert inspect.iscoroutinefunction(asynchronous)
    assert not inspect.iscoroutinefunction(sync)


def test_positional_parameters_are_those_of_litellm() -> None:
    assert list(PARAMETERS)[:9] == [
        "model",
        "query",
        "documents",
        "custom_llm_provider",
        "top_n",
        "rank_fields",
        "return_documents",
        "max_chunks_per_doc",
        "max_tokens_per_doc",
    ]


def test_function_and_class_have_the_same_options() -> None:
    assert PARAMETERS.keys() - OF_A_CALL == OF_RERANKER.keys()
    assert [each.name for each in PARAMETERS.values() if each.kind is VAR_KEYWORD] == ["provider_options"]


@pytest.mark.parametrize("name", sorted(OF_RERANKER.keys() - {"model", "provider_options"}))
def test_option_has_the_same_default_everywhere_and_can_be_passed(name: str) -> None:
    default = PARAMETERS[name].default
    assert OF_RERANKER[name].default == default
    if name in Options.model_fields:
        assert getattr(Options(), name) == default
    given: dict[str, Any] = {name: default}
    assert isinstance(Reranker(COHERE, **given), Reranker)


def test_every_parameter_of_the_function_is_documented() -> None:
    documentation = inspect.getdoc(rerank) or ""
    assert [name for name in PARAMETERS if f"{name}:" not in documentation and f"{name}, " not in documentation] == []


def reranker(server: Loopback, **given: Any) -> Reranker:
    return Reranker(COHERE, api_key="very-secret", headers={"x-team": "hidden"}, top_n=1, api_base=server.url, **given)


COPIES: dict[str, Callable[[Any], Any]] = {
    "pickle": lambda value: pickle.loads(pickle.dumps(value)),  # noqa: S301
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}


@pytest.mark.parametrize("copied", list(COPIES.values()), ids=list(COPIES))
@pytest.mark.parametrize("used", [False, True])
def test_copy_of_a_reranker_sends_the_same(copied: Callable[[Any], Any], used: bool, server: Loopback) -> None:
    with reranker(server, fallbacks=[NIM]) as original:
        if used:
            original.rerank("q", ["a"])
        with copied(original) as other:
            assert (other.provider, other.model, other.options) == ("cohere", "rerank-v3.5", original.options)
            assert other.rerank("q", ["a", ""]).results.indexes == (0,)
    headers = server.hits[-1].headers
    assert (headers["authorization"], headers["x-team"]) == ("Bearer very-secret", "hidden")


@pytest.mark.parametrize("copied", list(COPIES.values()), ids=list(COPIES))
def test_copy_of_a_reranker_falls_back_with_the_same_connections(
    copied: Callable[[Any], Any], server: Loopback
) -> None:
    server.script = lambda line: well(line) if line.hit.json["model"] == "second" else line.answer(503)
    with copied(reranker(server, fallbacks=["cohere/second"], max_retries=0)) as other:
        assert other.rerank("q", ["a"]).model == "second"
    assert len(server.hits) == 2
    assert len({hit.connection for hit in server.hits}) == 1


@pytest.mark.parametrize("copied", list(COPIES.values()), ids=list(COPIES))
def test_copy_of_a_reranker_does_not_share_open_connections(copied: Callable[[Any], Any], server: Loopback) -> None:
    with reranker(server) as original:
        original.rerank("q", ["a"])
        with copied(original) as other:
            other.rerank("q", ["a"])
    assert len({hit.connection for hit in server.hits}) == 2


def test_deepcopy_of_a_reranker_uses_the_same_client(server: Loopback) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"results": [{"index": 0, "relevance_score": 0.5}]})

    client = httpx.Client(transport=httpx.MockTransport(answer))
    assert copy.deepcopy(reranker(server, http_client=client)).rerank("q", ["a"]).results.scores == (0.5,)


def test_repr_shows_the_model_only() -> None:
    shown = repr(Reranker(COHERE, api_key="very-secret", fallbacks=[NIM], api_base="https://user:hunter2@host.test"))
    assert shown == "Reranker('cohere/rerank-v3.5')"


@pytest.mark.parametrize("custom", [None, "cohere"])
def test_provider_may_be_passed_separately(custom: str | None) -> None:
    named = Reranker("rerank-v3.5" if custom else COHERE, custom_llm_provider=custom)
    assert (named.provider, named.model) == ("cohere", "rerank-v3.5")


def test_client_of_another_type_is_refused_by_the_constructor() -> None:
    wrong: Any = object()
    with pytest.raises(anyrerank.ConfigurationError, match="http_client"):
        Reranker(COHERE, http_client=wrong)
