import base64
from typing import Any

import pytest
from pydantic import SecretStr

from anyrerank import Reranker
from anyrerank._core.engine import connect, key_from_environment, provider_class
from anyrerank._core.engine.environment import split_model
from anyrerank._core.types import RerankRequest
from anyrerank.errors import AuthenticationError, BadRequestError, ConfigurationError
from anyrerank.providers import load, names

VARIABLES = sorted({name for prefix in names() for name in (*load(prefix).key_variables, *load(prefix).base_variables)})
REQUEST = RerankRequest(query="q", documents=["a"])


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("model", "custom", "parts"),
    [
        ("cohere/rerank-v3.5", None, ("cohere", "rerank-v3.5")),
        ("nvidia_nim/nvidia/llama-3_2-nv-rerankqa-1b-v2", None, ("nvidia_nim", "nvidia/llama-3_2-nv-rerankqa-1b-v2")),
        ("nvidia_nim/ranking/nvidia/x", None, ("nvidia_nim", "ranking/nvidia/x")),
        ("rerank-v3.5", "cohere", ("cohere", "rerank-v3.5")),
        ("cohere/rerank-v3.5", "cohere", ("cohere", "rerank-v3.5")),
        ("nvidia/x", "nvidia_nim", ("nvidia_nim", "nvidia/x")),
        ("cohere:rerank-v3.5", None, ("cohere", "rerank-v3.5")),
        ("nvidia_nim:nvidia/x", None, ("nvidia_nim", "nvidia/x")),
        ("bedrock/cohere.rerank-v3-5:0", None, ("bedrock", "cohere.rerank-v3-5:0")),
        ("bedrock:cohere.rerank-v3-5:0", None, ("bedrock", "cohere.rerank-v3-5:0")),
        ("acme:8/x", None, ("acme:8", "x")),
    ],
)
def test_model_is_split_at_the_first_slash_or_after_a_known_provider_with_a_colon(
    model: str, custom: str | None, parts: tuple[str, str]
) -> None:
    assert split_model(model, custom) == parts


@pytest.mark.parametrize("model", ["cohere/", "cohere:"])
def test_provider_without_a_model_is_refused(model: str) -> None:
    with pytest.raises(ConfigurationError, match=f"'{model}' names a provider but no model"):
        split_model(model)


def test_reranker_may_be_made_with_a_colon() -> None:
    reranker = Reranker("cohere:rerank-v3.5", fallbacks=["nvidia_nim:nvidia/x"])
    assert (reranker.deployment, reranker.provider, reranker.model) == ("cohere/rerank-v3.5", "cohere", "rerank-v3.5")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"api_key": 5}, "api_key must be a string or a SecretStr, or None, got a value of type int"),
        ({"api_base": 3}, "api_base must be a string, or None, got 3"),
        (
            {"headers": [("a", "b")]},
            "headers must be a mapping of strings to strings, or None, got a value of type list",
        ),
    ],
    ids=str,
)
def test_connection_of_the_wrong_type_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(BadRequestError, match=message):
        Reranker("cohere/m", **{"api_key": "k", **given})


@pytest.mark.parametrize("given", [{"api_key": 5}, {"api_base": 3}, {"headers": [("a", "b")]}], ids=str)
def test_connect_refuses_the_wrong_type(given: dict[str, Any]) -> None:
    with pytest.raises(BadRequestError, match=f"{next(iter(given))} must be"):
        connect("cohere/m", **given)


def test_key_may_be_a_secret_string() -> None:
    assert connect("cohere/m", api_key=SecretStr(" k "), api_base=None).connection.api_key == "k"  # type: ignore[arg-type]


@pytest.mark.parametrize("model", ["", " ", None, 3, "rerank-v3.5"])
def test_model_without_a_provider_is_refused(model: Any) -> None:
    with pytest.raises(ConfigurationError, match="cohere/"):
        split_model(model)


def test_model_without_a_provider_is_refused_with_an_example() -> None:
    with pytest.raises(ConfigurationError, match=r"cohere/rerank-v3\.5; `anyrerank providers` lists all"):
        split_model("rerank-v3.5")


@pytest.mark.parametrize(
    ("prefix", "hint"),
    [
        ("coher", "did you mean cohere"),
        ("Cohere", r"did you mean cohere\?"),
        ("nim", r"did you mean nvidia_nim\?"),
        ("nvidia", r"did you mean nvidia_nim\?"),
        ("NVIDIA-NIM", r"did you mean nvidia_nim\?"),
        ("tei", r"did you mean huggingface\?"),
        ("vllm", r"did you mean hosted_vllm\?"),
        ("aws", r"did you mean bedrock\?"),
        ("gemini", r"did you mean vertex_ai\?"),
        ("ibm", r"did you mean watsonx\?"),
        ("xyzzy", "`anyrerank providers` lists all"),
    ],
)
def test_unknown_provider_is_refused_with_a_hint(prefix: str, hint: str) -> None:
    with pytest.raises(ConfigurationError, match=f"unknown provider '{prefix}': {hint}"):
        provider_class(f"{prefix}/m")


@pytest.mark.parametrize("prefix", ["_base", "..", "os", "__init__", ""])
def test_name_that_is_no_provider_is_refused(prefix: str) -> None:
    with pytest.raises(ConfigurationError):
        provider_class("m", prefix or "/")


@pytest.mark.parametrize("prefix", names())
def test_key_is_read_from_the_first_variable_that_is_set(prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = load(prefix)
    assert key_from_environment(kind) is None
    for name in reversed(kind.key_variables):
        monkeypatch.setenv(name, f" key in {name} ")
        assert key_from_environment(kind) == f"key in {name}"
    for name in kind.key_variables[:1]:
        monkeypatch.setenv(name, "  ")
        others = [f"key in {other}" for other in kind.key_variables[1:]]
        found = key_from_environment(kind)
        assert found in others or (found is None and not others)


@pytest.mark.parametrize("prefix", names())
def test_base_url_is_read_from_the_first_variable_that_is_set(prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = load(prefix)
    assert connect(f"{prefix}/m").connection.api_base is None
    for number, name in enumerate(reversed(kind.base_variables)):
        monkeypatch.setenv(name, f"http://host-{number}.test/v1")
        assert connect(f"{prefix}/m").connection.api_base == f"http://host-{number}.test/v1"


SECOND_NAMES = [
    (prefix, name, setting.same_as)
    for prefix in names()
    for name, setting in load(prefix).settings.items()
    if setting.same_as is not None
]


@pytest.mark.parametrize(("prefix", "name", "same_as"), SECOND_NAMES)
def test_second_name_of_a_setting_is_that_setting(
    prefix: str, name: str, same_as: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = load(prefix)
    variables = kind.base_variables if same_as == "api_base" else kind.settings[same_as].variables
    monkeypatch.setenv(variables[0], "http://environment.test")
    connection = connect(f"{prefix}/m", settings={name: "http://a.test"}).connection
    first = connection.api_base if same_as == "api_base" else connection.settings[same_as]
    assert (first, name in connection.settings) == ("http://a.test", False)
    both: dict[str, Any] = {name: "http://a.test", same_as: "http://b.test"}
    base = both.pop("api_base", None)
    with pytest.raises(BadRequestError, match=f"{same_as} and {name} .* differ"):
        connect(f"{prefix}/m", api_base=base, settings=both)


def test_second_names_are_those_of_litellm() -> None:
    assert {name for _, name, _ in SECOND_NAMES} == {
        "aws_bedrock_runtime_endpoint",
        "vertex_ai_credentials",
        "vertex_ai_location",
        "vertex_ai_project",
    }


def test_arguments_take_precedence_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COHERE_API_KEY", "from environment")
    monkeypatch.setenv("COHERE_API_BASE", "https://environment.test")
    connection = connect("cohere/m", api_key=" argument ", api_base="https://argument.test ").connection
    assert (connection.api_key, connection.api_base) == ("argument", "https://argument.test")


@pytest.mark.parametrize("empty", [None, ""])
def test_empty_key_is_read_from_the_environment(empty: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COHERE_API_KEY", "from environment")
    assert connect("cohere/m", api_key=empty).connection.api_key == "from environment"


def test_missing_key_is_looked_up_again_at_each_call(monkeypatch: pytest.MonkeyPatch) -> None:
    reranker = Reranker("cohere/m", api_base="https://host.test")
    with pytest.raises(AuthenticationError, match="COHERE_API_KEY or CO_API_KEY"):
        reranker.check()
    monkeypatch.setenv("CO_API_KEY", "came later")
    reranker.check()


@pytest.mark.parametrize("key", ["line\nbreak", "carriage\rreturn", "sch\u00fcssel", "\u201cquoted\u201d", "nul\0"])
def test_key_that_no_header_can_hold_is_refused_without_being_shown(key: str) -> None:
    with pytest.raises(AuthenticationError) as caught:
        connect("cohere/m", api_key=key)
    assert key not in str(caught.value)
    assert "Cohere" in str(caught.value)


@pytest.mark.parametrize("key", ["\nkey\n", "key\r\n"])
def test_line_breaks_around_a_key_are_removed(key: str) -> None:
    assert connect("cohere/m", api_key=key).connection.api_key == "key"


@pytest.mark.parametrize(
    "headers",
    [{"x": "a\nb"}, {"x": "a\r\nb"}, {"x": 3}, {3: "x"}, {"x": None}, {"x": "\u00fc"}, {"x\r\ny": "v"}, {"": "v"}],
)
def test_headers_that_cannot_be_sent_are_refused(headers: Any) -> None:
    with pytest.raises(BadRequestError, match="headers"):
        connect("cohere/m", headers=headers)


def test_headers_of_the_user_replace_ours_in_any_case() -> None:
    headers = {"Authorization": "Basic abc", "X-Team": "search"}
    sent = connect("cohere/m", api_key="key", headers=headers).build_request(REQUEST).headers
    assert (sent["authorization"], sent["x-team"]) == ("Basic abc", "search")
    assert "Authorization" not in sent
    assert headers == {"Authorization": "Basic abc", "X-Team": "search"}


@pytest.mark.parametrize(
    ("base", "login"),
    [
        ("https://user:pass@host.test:8080/v1?a=b", "user:pass"),
        ("https://us%40er:p%3Ass@host.test:8080/v1?a=b", "us@er:p:ss"),
        ("https://user@host.test:8080/v1?a=b", "user:"),
    ],
)
def test_login_in_the_base_url_becomes_a_header(base: str, login: str) -> None:
    provider = connect("cohere/m", api_base=base)
    assert provider.connection.api_base == "https://host.test:8080/v1?a=b"
    request = provider.build_request(REQUEST)
    assert request.headers["authorization"] == f"Basic {base64.b64encode(login.encode()).decode()}"
    for shown in (repr(provider), repr(provider.connection), request.url):
        assert "pass" not in shown
        assert "user" not in shown


@pytest.mark.parametrize(
    "base", ["host.test", "host.test/v1", "ftp://host.test", "https://", "http://[::1", "http://host.test:port", "/v1"]
)
def test_malformed_base_url_is_refused(base: str) -> None:
    with pytest.raises(ConfigurationError, match="COHERE_API_BASE"):
        connect("cohere/m", api_key="key", api_base=base).check()


def test_error_for_a_malformed_base_url_shows_no_login() -> None:
    provider = connect("cohere/m", api_key="key", api_base="http://user:hunter2@[::1")
    with pytest.raises(ConfigurationError) as caught:
        provider.check()
    for shown in (str(caught.value), repr(provider), repr(provider.connection)):
        assert "hunter2" not in shown


@pytest.mark.parametrize("prefix", names())
def test_repr_shows_neither_key_nor_headers(prefix: str) -> None:
    provider = connect(f"{prefix}/m", api_key="very-secret", api_base="https://host.test", headers={"x": "hidden"})
    for shown in (repr(provider), repr(provider.connection)):
        assert "very-secret" not in shown
        assert "hidden" not in shown


@pytest.mark.parametrize("given", ["", "  ", None])
def test_empty_setting_is_read_from_the_environment(given: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    connection = connect("bedrock/m", settings={"aws_region_name": given}).connection
    assert connection.settings == {"aws_region_name": "eu-central-1"}
    assert connection.from_environment == {"aws_region_name"}


def test_white_space_around_a_setting_is_removed() -> None:
    connection = connect("vertex_ai/m", settings={"access_token": " t-1\n", "vertex_project": "p"}).connection
    assert connection.settings == {"access_token": "t-1", "vertex_project": "p"}
    assert connection.from_environment == frozenset()


@pytest.mark.parametrize("way", ["argument", "environment"])
def test_setting_that_no_header_can_hold_is_refused_without_being_shown(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"token": "to\nken"} if way == "argument" else {}
    if way == "environment":
        monkeypatch.setenv("WATSONX_TOKEN", "to\nken")
    with pytest.raises(AuthenticationError, match=r"^token for IBM watsonx\.ai contains a line break") as caught:
        connect("watsonx/m", settings=settings)
    assert "ken" not in str(caught.value).replace("token", "")


def test_error_names_the_variable_of_the_base_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CO_API_URL", "gw.example")
    with pytest.raises(ConfigurationError, match="the base URL for Cohere in CO_API_URL must be an http"):
        connect("cohere/m", api_key="k").check()


@pytest.mark.parametrize(
    ("model", "example"),
    [
        ("jina-reranker-v2-base-multilingual", "jina_ai/jina-reranker-v2-base-multilingual"),
        ("amazon.rerank-v1:0", "bedrock/amazon.rerank-v1:0"),
        ("nvidia:some-model", "nvidia_nim/some-model"),
        ("some-model", "cohere/some-model"),
    ],
)
def test_model_without_a_provider_is_refused_with_a_fitting_example(model: str, example: str) -> None:
    with pytest.raises(ConfigurationError, match=f"for example {example};"):
        connect(model)


@pytest.mark.parametrize(
    ("model", "provider"), [("cohere_chat/rerank-v3.5", None), ("rerank-v3.5", "cohere_chat"), ("cohere/m", "cohere")]
)
def test_cohere_chat_is_cohere(model: str, provider: str | None) -> None:
    assert connect(model, custom_llm_provider=provider, api_key="k").prefix == "cohere"
