import copy
import pickle
from typing import Any

import pytest

from anyrerank import errors, rerank
from anyrerank._core.types import Attempt
from anyrerank.errors import (
    APIConnectionError,
    APIResponseValidationError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    BudgetExceededError,
    ConfigurationError,
    FallbackError,
    GuardrailRaisedError,
    InternalServerError,
    InvalidArgumentError,
    LimitReachedError,
    MissingExtraError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    RerankError,
    StateUnavailableError,
    UnknownPriceError,
    class_for_status,
    public_url,
)

CLASSES = [
    RerankError,
    AuthenticationError,
    PermissionDeniedError,
    NotFoundError,
    BadRequestError,
    InvalidArgumentError,
    RateLimitError,
    LimitReachedError,
    APITimeoutError,
    APIConnectionError,
    InternalServerError,
    APIResponseValidationError,
    ConfigurationError,
    MissingExtraError,
    UnknownPriceError,
    GuardrailRaisedError,
    BudgetExceededError,
    StateUnavailableError,
    FallbackError,
]

DETAILS: dict[str, Any] = {
    "provider": "cohere",
    "model": "rerank-v3.5",
    "status_code": 429,
    "request_id": "req-1",
    "retry_after": 1.5,
    "url": "https://host.test/v2/rerank",
}


def test_every_error_is_a_rerank_error() -> None:
    defined = {value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, BaseException)}
    assert defined == set(CLASSES)
    assert all(issubclass(kind, RerankError) for kind in CLASSES)
    assert issubclass(RerankError, Exception)


def test_docstring_shows_the_tree() -> None:
    lines = [line.partition("+--")[2].split() for line in (errors.__doc__ or "").splitlines()]
    assert [words[0] for words in lines if words] == [kind.__name__ for kind in CLASSES[1:]]


def test_missing_extra_is_a_configuration_error_and_an_import_error() -> None:
    assert issubclass(MissingExtraError, ConfigurationError)
    assert issubclass(MissingExtraError, ImportError)


@pytest.mark.parametrize(
    ("kind", "statuses"),
    [
        (AuthenticationError, [401, 498]),
        (PermissionDeniedError, [402, 403]),
        (NotFoundError, [404, 410]),
        (BadRequestError, [400, 405, 406, 409, 411, 412, 413, 414, 415, 418, 422, 425, 431, 451, 497]),
        (APITimeoutError, [408, 504]),
        (RateLimitError, [429]),
        (InternalServerError, [424, 499, 500, 501, 502, 503, 505, 520, 529, 599]),
        (APIResponseValidationError, [200, 202, 204, 301, 302, 307, 308]),
    ],
)
def test_status_has_its_class(kind: type[RerankError], statuses: list[int]) -> None:
    assert {class_for_status(status) for status in statuses} == {kind}


@pytest.mark.parametrize("kind", CLASSES)
def test_error_before_anything_is_sent_fails_over_unless_it_is_the_fault_of_the_caller(kind: type[RerankError]) -> None:
    assert kind("failed").should_fail_over is (
        kind not in {BadRequestError, InvalidArgumentError, GuardrailRaisedError}
    )


@pytest.mark.parametrize("details", [{"status_code": 400}, {"status_code": 422}, {"too_large": True}], ids=str)
def test_refusal_of_a_server_or_a_limit_of_the_provider_fails_over(details: dict[str, Any]) -> None:
    assert BadRequestError("refused", **details).should_fail_over


def copies(error: RerankError) -> list[RerankError]:
    pickled = [
        pickle.loads(pickle.dumps(error, protocol))  # noqa: S301
        for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1)
    ]
    return [*pickled, copy.copy(error), copy.deepcopy(error)]


@pytest.mark.parametrize("details", [DETAILS, {}], ids=["all details", "none"])
@pytest.mark.parametrize("kind", CLASSES)
def test_copy_equals_the_original(kind: type[RerankError], details: dict[str, Any]) -> None:
    error = kind("what happened", **details)
    for copied in copies(error):
        assert type(copied) is kind
        assert vars(copied) == vars(error)
        assert copied.args == error.args == ("what happened",)
        assert (str(copied), repr(copied)) == (str(error), repr(error))


def test_copy_of_a_fallback_error_has_errors_and_attempts() -> None:
    inner = RateLimitError("slow down", retry_after=2.0, provider="cohere", status_code=429)
    attempt = Attempt(deployment="cohere/m", status=429, error="RateLimitError", seconds=0.25)
    error = FallbackError("every model failed", errors=(inner,), attempts=(attempt,))
    for copied in copies(error):
        assert isinstance(copied, FallbackError)
        assert copied.attempts == (attempt,)
        [tried] = copied.errors
        assert isinstance(tried, RateLimitError)
        assert vars(tried) == vars(inner)


def test_copy_has_a_changed_message() -> None:
    error = BadRequestError("before")
    error.message = "after"
    assert {str(copied) for copied in copies(error)} == {"after"}


@pytest.mark.parametrize("kind", CLASSES)
def test_details_are_attributes(kind: type[RerankError]) -> None:
    error = kind("what happened", **DETAILS)
    assert {name: getattr(error, name) for name in DETAILS} == DETAILS
    assert error.message == "what happened"
    bare = kind("what happened")
    assert {getattr(bare, name) for name in DETAILS} == {None}


def test_details_are_keyword_only() -> None:
    with pytest.raises(TypeError):
        RerankError("what happened", "cohere")  # type: ignore[call-arg]


def test_str_has_the_message_and_the_known_details() -> None:
    assert str(RerankError("what happened")) == "what happened"
    assert str(RateLimitError("what happened", **DETAILS)) == (
        "what happened [provider=cohere, model=rerank-v3.5, status=429, request_id=req-1, retry_after=1.5, "
        "url=https://host.test/v2/rerank]"
    )
    assert "retry_after=0.0" in str(RateLimitError("what happened", retry_after=0.0))


def test_repr_has_the_class() -> None:
    assert repr(NotFoundError("what happened", status_code=404)) == "NotFoundError('what happened [status=404]')"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://host.test/v1/rerank", "https://host.test/v1/rerank"),
        ("https://user:pass@host.test:8080/v1", "https://host.test:8080/v1"),
        ("https://us@er:p@ss@host.test/v1", "https://host.test/v1"),
        ("https://token@host.test", "https://host.test"),
        ("https://host.test/v1?key=pass#pass", "https://host.test/v1"),
        ("http://[::1]:8000/rerank?key=pass", "http://[::1]:8000/rerank"),
        ("http://[::1/rerank?key=pass", "(malformed URL)"),
        ("", ""),
    ],
)
def test_url_is_shown_without_secrets(url: str, shown: str) -> None:
    assert public_url(url) == shown
    error = RerankError("what happened", url=url)
    assert error.url == shown
    for text in (str(error), repr(error), repr(vars(error))):
        assert "pass" not in text
        assert "p@ss" not in text
        assert "token" not in text


def test_message_can_be_printed_whatever_the_caller_wrote() -> None:
    with pytest.raises(RerankError) as caught:
        rerank("cohere\ud835", "q", ["a"])
    assert str(caught.value).encode()


def test_wait_is_rounded_in_the_text() -> None:
    error = RateLimitError("wait", retry_after=81620.32063627243)
    assert str(error) == "wait [retry_after=81620.3]"
    assert error.retry_after == 81620.32063627243
