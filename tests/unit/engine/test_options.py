from collections.abc import Callable
from typing import Any

import httpx
import pytest
from tests.unit.engine.server import COHERE, Server

from anyrerank import BadRequestError, Reranker, Router
from anyrerank._core.engine import Options, RerankerOptions, merged, parse_options
from anyrerank._core.engine.provider_options import provider_options
from anyrerank.providers import load

NIM = "nvidia_nim/nvidia/rerank-qa"


@pytest.fixture
def server() -> Server:
    return Server()


WRONG: list[tuple[str, Any]] = [
    *(("top_n", value) for value in (0, -1, True, 2.5, "3", 1.0)),
    *(("timeout", value) for value in (0, -1, float("nan"), float("inf"), 10**400, "soon", "-5", True, object())),
    *(("max_retries", value) for value in (-1, 1.5, "2", False)),
    ("num_retries", -1),
    *(("batch_size", value) for value in (0, -5, "10", True)),
    *(("max_concurrency", value) for value in (0, 1.5)),
    *(("score_threshold", value) for value in ("0.5", float("nan"), 10**400, True)),
    *(("score_mode", value) for value in ("percent", "RAW")),
    *(("score_scale", value) for value in ("percent", True)),
    ("on_error", "ignore"),
    *(("fuse", value) for value in ("borda", True)),
    *(("rank_fields", value) for value in ("text", [1], [None], 5, True, b"text")),
    *(("extra_body", value) for value in ("{}", [("a", 1)], 3)),
    *(("metadata", value) for value in ("tag", ["tag"])),
    *(("options", value) for value in ("padding", ["padding"], 3)),
]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_invalid_value_is_refused_before_anything_is_sent(server: Server, name: str, value: Any) -> None:
    shown = "max_retries must be" if name == "num_retries" else f"{name} must be"
    with pytest.raises(BadRequestError, match=shown):
        server.rerank(**{name: value})
    with pytest.raises(BadRequestError, match=shown):
        Reranker(COHERE, **{name: value})
    with pytest.raises(BadRequestError, match=shown):
        Reranker(COHERE, api_key="key", http_client=server.http_client).rerank("q", ["a"], **{name: value})
    assert server.bodies == []


MESSAGES: list[tuple[str, Any, str]] = [
    ("top_n", -3, "top_n must be a positive integer, or None, got -3"),
    ("top_n", "3", "top_n must be a positive integer, or None, got a value of type str"),
    ("timeout", 0, "timeout must be a positive number of seconds, or None for no limit, got 0"),
    ("timeout", "soon", "timeout must be a positive number of seconds, or None for no limit, got a value of type str"),
    ("score_mode", "units", "score_mode must be 'raw' or 'unit', got 'units'"),
    ("score_scale", "logits", "score_scale must be 'logit', 'unit' or None, got 'logits'"),
    ("score_mode", "a" * 41, "score_mode must be 'raw' or 'unit', got a value of type str"),
    ("on_error", "ignore", "on_error must be 'raise' or 'passthrough', got 'ignore'"),
    ("fuse", True, "fuse must be 'rrf', 'auto' or None, got True"),
    ("max_tokens_per_doc", 0, "max_tokens_per_doc must be a positive integer, or None, got 0"),
    ("priority", 1.5, "priority must be an integer, or None, got 1.5"),
    ("user", ["secret"], "user must be a string, or None, got a value of type list"),
    ("instruction", b"secret", "instruction must be a string, or None, got a value of type bytes"),
    ("metadata", "secret", "metadata must be a mapping, or None, got a value of type str"),
    ("api_key", 123456, "api_key must be a string or a SecretStr, or None, got a value of type int"),
    ("guardrails", None, "guardrails must be a list of functions that take the query and return it, got None"),
    (
        "guardrails",
        3,
        "guardrails must be a list of functions that take the query and return it, got a value of type int",
    ),
    ("drop_params", "yes", "drop_params must be True or False, got a value of type str"),
    (
        "input_cost_per_token",
        -1.0,
        "input_cost_per_token must be a number of US dollars of at least 0, or None, got -1.0",
    ),
]


@pytest.mark.parametrize(("name", "value", "message"), MESSAGES)
def test_message_says_what_is_expected_and_shows_only_numbers_and_choices(name: str, value: Any, message: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        Reranker(COHERE, **{name: value})
    assert caught.value.message == message


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("30", 30.0), (" 2.5 ", 2.5), (30, 30.0), (httpx.Timeout(30), 30.0), (httpx.Timeout(5, read=7), 7.0)],
    ids=str,
)
def test_timeout_may_be_a_numeric_string_or_an_httpx_timeout(server: Server, value: Any, seconds: float) -> None:
    assert parse_options(Options, {"timeout": value}).timeout == seconds
    server.rerank(timeout=value)
    Reranker(COHERE, api_key="key", http_client=server.http_client).rerank("q", ["a"], timeout=value)
    assert len(server.bodies) == 2


def test_httpx_timeout_without_a_read_timeout_is_no_limit() -> None:
    assert parse_options(Options, {"timeout": httpx.Timeout(None)}).timeout is None


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        ("nvidia_nim/nvidia/rerank-qa", {"truncate": "START"}, "truncate must be 'NONE' or 'END' for NVIDIA NIM"),
        (
            "voyage/rerank-2.5",
            {"truncate": "START"},
            "truncate must be 'NONE' or 'END' (or False or True) for Voyage AI",
        ),
        ("huggingface/m", {"truncation_direction": "Up"}, "truncation_direction must be 'Left' or 'Right'"),
        ("cohere/m", {"priority": -1}, "priority must be at least 0 for Cohere, got -1"),
    ],
)
def test_value_that_the_provider_does_not_take_is_refused_when_it_is_set(
    model: str, options: dict[str, Any], message: str
) -> None:
    entry = {"model_name": "m", "litellm_params": {"model": model, **options}}
    makers: list[Callable[[], object]] = [
        lambda: Reranker(model, **options),
        lambda: Reranker("local/lexical", fallbacks=[model], drop_params=True, **options),
        lambda: Router([entry]),
    ]
    for make in makers:
        with pytest.raises(BadRequestError) as caught:
            make()
        assert message in caught.value.message


def test_call_that_the_provider_does_not_take_is_no_attempt(server: Server) -> None:
    cases: list[dict[str, Any]] = [{"priority": -1}, {"relevant_spans": 5}]
    for wrong in cases:
        with pytest.raises(BadRequestError) as caught:
            server.rerank(**wrong)
        assert (caught.value.attempts, server.bodies) == ((), [])


@pytest.mark.parametrize("name", ["truncate", "instruction", "no_such_option", "top_k"])
def test_unknown_option_is_refused_with_the_options_that_exist(server: Server, name: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        server.rerank(**{name: "x"})
    for existing in (name, "max_tokens_per_doc", "max_chunks_per_doc", "priority", "top_n", "drop_params"):
        assert existing in str(caught.value)
    assert len(str(caught.value)) < 400
    assert server.bodies == []


def test_unknown_option_is_refused_by_the_constructor_and_by_the_call(server: Server) -> None:
    with pytest.raises(BadRequestError, match="truncate"):
        Reranker(COHERE, truncate="END")
    reranker = Reranker(COHERE, api_key="key", http_client=server.http_client)
    with pytest.raises(BadRequestError, match="truncate"):
        reranker.rerank("q", ["a"], truncate="END")
    assert server.bodies == []


def test_option_that_a_fallback_does_not_have_is_refused() -> None:
    with pytest.raises(BadRequestError, match="nvidia_nim has no option priority"):
        Reranker(COHERE, fallbacks=[NIM], priority=1)


def test_drop_params_drops_options_that_the_provider_does_not_have(server: Server) -> None:
    server.rerank(truncate="END", max_tokens_per_doc=100, drop_params=True)
    assert server.bodies[0].keys() == {"model", "query", "documents", "max_tokens_per_doc"}


@pytest.mark.parametrize(
    ("model", "given", "sent"),
    [
        (COHERE, {"max_tokens_per_doc": 100, "priority": 0}, {"max_tokens_per_doc": 100, "priority": 0}),
        (COHERE, {"max_chunks_per_doc": 5}, {"max_chunks_per_doc": 5}),
        (NIM, {"truncate": "NONE"}, {"truncate": "NONE"}),
        (NIM, {"truncate": None}, {}),
        (COHERE, {"top_n": 1}, {"top_n": 1}),
        (COHERE, {"top_n": 99}, {"top_n": 2}),
        (COHERE, {"top_n": 1, "fuse": "rrf"}, {}),
        (COHERE, {"extra_body": {"raw": [1]}}, {"raw": [1]}),
        (COHERE, {"user": "u", "metadata": {"tag": 1}, "return_documents": True, "timeout": None}, {}),
    ],
)
def test_body_has_the_options_of_the_provider_only(
    server: Server, model: str, given: dict[str, Any], sent: dict[str, Any]
) -> None:
    server.rerank(model=model, **given)
    everything = {"model", "query", "passages"} if model == NIM else {"model", "query", "documents"}
    assert {name: value for name, value in server.bodies[0].items() if name not in everything} == sent


@pytest.mark.parametrize(
    "name", ["api_key", "api_base", "headers", "http_client", "fallbacks", "model", "custom_llm_provider"]
)
def test_call_cannot_override_the_connection(server: Server, name: str) -> None:
    reranker = Reranker(COHERE, api_key="key", http_client=server.http_client)
    given: dict[str, Any] = {name: "x"}
    with pytest.raises(BadRequestError, match=name):
        reranker.rerank("q", ["a"], **given)
    assert server.bodies == []


def test_call_overrides_options_for_itself_only(server: Server) -> None:
    reranker = Reranker(COHERE, api_key="key", http_client=server.http_client, top_n=1, priority=3)
    assert len(reranker.rerank("q", ["a", "b"], top_n=None, priority=None).results) == 2
    assert len(reranker.rerank("q", ["a", "b"]).results) == 1
    assert [body.get("priority") for body in server.bodies] == [None, 3]


def test_half_a_character_in_an_option_is_replaced(server: Server) -> None:
    server.rerank(extra_body={"note\ud800": ["a\udfff", {"b": "\ud800"}, 1, None]})
    assert server.bodies[0]["note\ufffd"] == ["a\ufffd", {"b": "\ufffd"}, 1, None]


def endless() -> dict[str, Any]:
    """A mapping that holds itself."""
    found: dict[str, Any] = {}
    found["again"] = found
    return found


@pytest.mark.parametrize("value", [object(), 2**70, {1: "a"}, endless()], ids=["object", "integer", "key", "endless"])
@pytest.mark.parametrize("query", ["q", "half a \ud800"])
def test_extra_body_that_is_not_json_is_refused(server: Server, value: Any, query: str) -> None:
    with pytest.raises(BadRequestError, match="JSON"):
        server.rerank(query=query, extra_body={"raw": value})
    assert server.bodies == []


def test_message_shows_neither_query_nor_documents(server: Server) -> None:
    secret = "a very private text indeed"
    wrong: list[dict[str, Any]] = [
        {"documents": [secret, 3]},
        {"documents": secret},
        {"documents": {"text": secret}},
        {"documents": [{"title": secret}]},
        {"documents": [secret], "query": f"{secret}\ud800", "extra_body": {"raw": object()}},
        {"documents": [secret], "query": secret, "top_n": 0},
        {"documents": [secret], "query": secret, "unknown": secret},
        {"documents": ["a"], "query": [secret]},
    ]
    for given in wrong:
        with pytest.raises(BadRequestError) as caught:
            server.rerank(**given)
        assert secret not in str(caught.value)


def test_none_is_the_default_of_options_that_cannot_be_none(server: Server) -> None:
    names = ("max_retries", "max_concurrency", "dedupe", "drop_params", "on_error", "score_mode", "allow_split")
    nothing: dict[str, Any] = dict.fromkeys(names)
    assert Reranker(COHERE, **nothing).options == Reranker(COHERE).options
    kept = Reranker(COHERE, api_key="key", http_client=server.http_client, score_mode="unit", guardrails=[str.upper])
    kept.rerank("q", ["a"], **nothing)
    assert server.bodies[0]["query"] == "Q"


@pytest.mark.parametrize("value", [None, 0, 5])
def test_num_retries_is_an_alias_of_max_retries(value: int | None) -> None:
    assert parse_options(Options, {"num_retries": value}).max_retries == (2 if value is None else value)


@pytest.mark.parametrize(
    "given",
    [
        {"num_retries": 1, "max_retries": 3},
        {"num_retries": 0, "max_retries": 3},
        {"base_url": "https://a.test", "api_base": "https://b.test"},
    ],
)
def test_two_names_of_one_option_must_not_have_different_values(given: dict[str, Any]) -> None:
    first, second = given
    with pytest.raises(BadRequestError, match=f"{second} and {first}.*pass"):
        parse_options(RerankerOptions, given)


@pytest.mark.parametrize(
    "given",
    [
        {"num_retries": 1, "max_retries": 1},
        {"num_retries": None, "max_retries": 1},
    ],
)
def test_two_names_of_one_option_may_have_the_same_value(given: dict[str, Any]) -> None:
    assert parse_options(RerankerOptions, given).max_retries == 1


def test_base_url_and_extra_headers_are_aliases() -> None:
    options = parse_options(RerankerOptions, {"base_url": "https://host.test", "extra_headers": {"x": "1"}})
    assert (options.api_base, options.headers) == ("https://host.test", {"x": "1"})


def test_two_base_urls_are_refused_unless_they_are_equal() -> None:
    with pytest.raises(BadRequestError, match=r"api_base and base_url .* differ") as caught:
        parse_options(RerankerOptions, {"api_base": "https://a.test/secret", "base_url": "https://b.test"})
    assert "secret" not in str(caught.value)
    for given in ({"api_base": "https://a.test"}, {"api_base": None}):
        assert parse_options(RerankerOptions, {**given, "base_url": "https://a.test"}).api_base == "https://a.test"


def test_headers_and_extra_headers_are_merged() -> None:
    options = parse_options(RerankerOptions, {"headers": {"x": "1", "y": "1"}, "extra_headers": {"x": "2", "z": "2"}})
    assert options.headers == {"x": "1", "y": "1", "z": "2"}


def test_overrides_replace_options_and_are_added_to_provider_options() -> None:
    base = parse_options(Options, {"top_n": 5, "truncate": "END", "priority": 1, "padding": True})
    changed = merged(base, {"top_n": None, "truncate": None, "instruction": "i", "is_iql": True})
    assert changed.top_n is None
    assert changed.provider_options == {"priority": 1, "instruction": "i", "padding": True, "is_iql": True}
    assert base.top_n == 5
    assert base.provider_options == {"truncate": "END", "priority": 1, "padding": True}
    assert merged(base, {}) is base


@pytest.mark.parametrize("name", ["top_n", "max_chunks_per_doc", "priority"])
def test_options_that_hold_a_field_are_refused(name: str) -> None:
    with pytest.raises(BadRequestError, match=f"options must not hold {name}"):
        parse_options(Options, {"options": {name: 0}})
    with pytest.raises(BadRequestError, match=f"options must not hold {name}"):
        merged(Options(), {"options": {name: 0}})


def test_provider_option_reaches_only_providers_that_have_it() -> None:
    given = {"truncate": "END", "priority": 1}
    assert provider_options(given, load("nvidia_nim"), drop_params=True) == {"truncate": "END"}
    assert provider_options(given, load("cohere"), drop_params=True) == {"priority": 1}
    assert provider_options(given, load("local"), drop_params=True) == {}
