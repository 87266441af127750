import copy
import inspect
import pickle
from collections.abc import Callable
from types import ModuleType
from typing import Any

import httpx
import pytest
from tests.support.loopback import Loopback

import anyrerank
from anyrerank import Reranker, RerankResponse, arerank, rerank
from anyrerank._core.engine import Options

COHERE, NIM = "cohere/rerank-v3.5", "nvidia_nim/nvidia/rerank-qa"
PARAMETERS = inspect.signature(rerank).parameters
OF_RERANKER = inspect.signature(Reranker).parameters
OF_A_CALL = {"query", "documents"}


def test_all_names_what_is_there() -> None:
    public = {
        name
        for name in dir(anyrerank)
        if not name.startswith("_") and not isinstance(getattr(anyrerank, name), ModuleType)
    }
    assert set(anyrerank.__all__) == public | {"__version__"}
    assert list(anyrerank.__all__) == sorted(
        anyrerank.__all__, key=lambda name: (name[0].islower(), name[0] == "_", name)
    )


def test_star_gives_exactly_that() -> None:
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


def test_both_functions_have_one_signature() -> None:
    assert inspect.signature(rerank) == inspect.signature(arerank)
    assert arerank.__name__ == "arerank"
    assert arerank.__doc__ == rerank.__doc__
    assert inspect.iscoroutinefunction(arerank)
    assert not inspect.iscoroutinefunction(rerank)


@pytest.mark.parametrize("name", ["rerank", "rerank_many"])
def test_both_methods_have_one_signature(name: str) -> None:
    sync, asynchronous = getattr(Reranker, name), getattr(Reranker, f"a{name}")
    assert inspect.signature(sync) == inspect.signature(asynchronous)
    assert asynchronous.__name__ == f"a{name}"
    assert inspect.iscoroutinefunction(asynchronous)
    assert not inspect.iscoroutinefunction(sync)


def test_the_call_starts_as_litellms_does() -> None:
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


@pytest.mark.parametrize("name", sorted(PARAMETERS.keys() - OF_A_CALL - {"provider_options", "model"}))
def test_every_option_of_the_function_is_one_of_the_class_with_the_same_default(name: str) -> None:
    default = PARAMETERS[name].default
    if name in OF_RERANKER:
        assert OF_RERANKER[name].default == default
    else:
        assert default is None
    assert isinstance(Reranker(COHERE, **{name: default}), Reranker)


def test_the_class_has_no_option_that_the_function_lacks() -> None:
    assert OF_RERANKER.keys() <= PARAMETERS.keys()


def test_every_option_has_the_same_default_inside() -> None:
    inside = Options()
    for name in OF_RERANKER.keys() & inspect.signature(Options).parameters.keys():
        assert getattr(inside, name) == OF_RERANKER[name].default, name


def test_every_parameter_of_the_function_is_documented() -> None:
    documentation = inspect.getdoc(rerank) or ""
    assert [name for name in PARAMETERS if f"{name}:" not in documentation and f"{name}, " not in documentation] == []


def answer(request: httpx.Request) -> httpx.Response:
    assert request.headers["authorization"] == "Bearer very-secret"
    assert request.headers["x-team"] == "hidden"
    return httpx.Response(200, json={"results": [{"index": 0, "relevance_score": 0.5}]})


def reranker(**given: Any) -> Reranker:
    return Reranker(COHERE, api_key="very-secret", headers={"x-team": "hidden"}, top_n=1, **given)


AGAIN: list[Callable[[Any], Any]] = [lambda value: pickle.loads(pickle.dumps(value)), copy.copy, copy.deepcopy]  # noqa: S301


@pytest.mark.parametrize("again", AGAIN, ids=["pickle", "copy", "deepcopy"])
@pytest.mark.parametrize("used", [False, True])
def test_a_copy_of_a_reranker_does_the_same(again: Callable[[Any], Any], used: bool) -> None:
    original = reranker(fallbacks=[NIM])
    if used:
        original.check()
    copied = again(original)
    assert (copied.provider, copied.model) == ("cohere", "rerank-v3.5")
    assert copied.options == original.options
    copied._transport._user_client = httpx.Client(transport=httpx.MockTransport(answer))
    response = copied.rerank("q", ["a", ""])
    assert isinstance(response, RerankResponse)
    assert response.results.indexes == (0,)


def test_a_copy_fails_over_as_the_original(serve: Callable[..., Loopback]) -> None:
    server = serve(lambda line: line.answer(500))
    for again in AGAIN:
        copied = again(reranker(api_base=server.url, fallbacks=["local/lexical"], max_retries=0))
        assert copied.rerank("q", ["q"]).provider == "local"


def test_a_copy_opens_connections_of_its_own(serve: Callable[..., Loopback]) -> None:
    server = serve()
    with reranker(api_base=server.url) as original:
        original.rerank("q", ["a 1"])
        for again in AGAIN:
            with again(original) as copied:
                copied.rerank("q", ["a 1"])
    assert len({hit.connection for hit in server.hits}) == 4


def test_a_deep_copy_uses_the_callers_client_too() -> None:
    client = httpx.Client(transport=httpx.MockTransport(answer))
    assert copy.deepcopy(reranker(http_client=client)).rerank("q", ["a"]).results.scores == (0.5,)


def test_repr_shows_the_model_alone() -> None:
    shown = repr(reranker(fallbacks=[NIM], api_base="https://user:hunter2@host.test", extra_body={"k": "very-secret"}))
    assert shown == "Reranker('cohere/rerank-v3.5')"


@pytest.mark.parametrize("custom", [None, "cohere"])
def test_the_provider_may_be_named_beside_the_model(custom: str | None) -> None:
    named = Reranker("rerank-v3.5" if custom else COHERE, custom_llm_provider=custom)
    assert (named.provider, named.model) == ("cohere", "rerank-v3.5")


def test_a_wrong_client_is_refused_at_once() -> None:
    wrong: Any = object()
    with pytest.raises(anyrerank.ConfigurationError, match="http_client"):
        Reranker(COHERE, http_client=wrong)
