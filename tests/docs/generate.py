"""Writes the parts of the pages that repeat what the code says: `make pages`. A test compares them.

A generated part is between `<!-- generated: name -->` and `<!-- end -->`.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping

from pydantic.fields import FieldInfo
from tests.support.pages import ROOT

from anyrerank import errors
from anyrerank._core.engine import Options, RerankerOptions
from anyrerank._core.engine.options import Must
from anyrerank.catalog import Card, cards, markdown

DOCS = ROOT / "docs"
_PART = re.compile(r"(<!-- generated: ([\w -]+) -->\n).*?(<!-- end -->)", flags=re.DOTALL)

ADVICE: Mapping[str, str] = {
    "AuthenticationError": "Set the environment variable that the message names, or pass `api_key=`. If a key is set, "
    "check that it is for this provider, and that no quote or line break was copied with it.",
    "PermissionDeniedError": "Ask the owner of the account: the plan may not include the model, or the credit is used "
    "up. A corporate proxy may also answer 403: see [Troubleshooting](troubleshooting.md#403).",
    "NotFoundError": "Check the name of the model with `anyrerank providers <prefix>`. With `api_base`, check the URL "
    "in the message: it is the one that was asked.",
    "BadRequestError": "Correct the call. Without a `status_code`, nothing was sent and the message says what is "
    "wrong; with one, the message is the provider's. If `too_large` is true, send less.",
    "RateLimitError": "Nothing, at first: without `fallbacks` the call has been retried `max_retries` times, and "
    "waited as long as the provider asked. If it still happens, lower `max_concurrency` or `max_parallel_requests`, or "
    "use a `Router`.",
    "APITimeoutError": "Raise `timeout`, or send fewer documents per call. `timeout` covers retries and waits too.",
    "APIConnectionError": "Check host, port and certificate: the message says what the system reported. See "
    "[Troubleshooting](troubleshooting.md#tls-and-certificates).",
    "InternalServerError": "Wait; the call has been retried already. Use `fallbacks` for the next time, and give "
    "`request_id` to the provider's support.",
    "APIResponseValidationError": "Check that `api_base` is a rerank endpoint of this provider, and not a web page or "
    "another dialect. A list that is incomplete is never passed on.",
    "ConfigurationError": "Correct the name, URL or file that the message names.",
    "MissingExtraError": "Run the `pip install` in the message.",
    "InvalidArgumentError": "Correct the field or argument that the message names.",
    "LimitReachedError": "Try again after `retry_after` seconds, send less, or pass a longer `timeout`.",
    "UnknownPriceError": "Give the price as `input_cost_per_query` or `input_cost_per_token`, or a file as `prices`.",
    "GuardrailRaisedError": "Tell the user that the query was refused. The message does not repeat the query.",
    "StateUnavailableError": "Look after the Redis server; the call may be sent again after `retry_after` seconds.",
    "BudgetExceededError": "Wait until the window ends (`retry_after` seconds), or raise the budget. It is also raised "
    "with `on_error='passthrough'`: see [the table](langchain.md#when-all-of-them-fail).",
    "FallbackError": "Look at `errors`: the error of each model, in the order in which they were tried.",
}
"""What to do about each error."""


def options() -> str:
    """The options of a call, and those of the connection."""
    call = [_option(name, field) for name, field in Options.model_fields.items()]
    own = [
        _option(name, field) for name, field in RerankerOptions.model_fields.items() if name not in Options.model_fields
    ]
    return "\n\n".join(["## Of a call", *call, "## Of a `Reranker`", *own])


def _option(name: str, field: FieldInfo) -> str:
    must = next((each.be for each in field.metadata if isinstance(each, Must)), None)
    default = f"Default: `{field.default!r}`."
    return f"### `{name}`\n\n{field.description}\n\n{default}" + (f" Must be {must}." if must else "")


def tree() -> str:
    """The tree of errors, without what they mean, which is below."""
    found = re.search(r"^    RerankError\n.*?(?=\n\n)", errors.__doc__ or "", flags=re.DOTALL | re.MULTILINE)
    assert found is not None
    names = re.sub(r"(?<=\w) {2,}.*", "", inspect.cleandoc(found[0]))
    return f"```text\n{names}\n```"


def each_error() -> str:
    """What each error means, and what to do."""
    return "\n\n".join(
        f"## {name}\n\n{inspect.getdoc(getattr(errors, name))}\n\n**What to do.** {advice}".replace(
            "\n\nAttributes:\n    errors: The error of each model, in the order in which they were tried.", ""
        )
        for name, advice in ADVICE.items()
    )


def statuses() -> str:
    """The class of each HTTP status."""
    rows: dict[str, list[str]] = {}
    for status in [*range(400, 432), 451, 498, 499, 500, 502, 503, 504]:
        if status in (400, 401, 402, 403, 404, 408, 409, 410, 413, 422, 424, 429, 498, 499) or status >= 500:
            rows.setdefault(errors.class_for_status(status).__name__, []).append(str(status))
    return _table(
        ("status", "class"), ((", ".join(found), f"[`{name}`](#{name.lower()})") for name, found in rows.items())
    )


def variables() -> str:
    """The environment variables of every provider."""
    return "\n\n".join(
        f"### {card.title}\n\n" + _table(("variable", "what it holds"), lines)
        for card in cards()
        if (lines := list(_variables(card)))
    )


def _variables(card: Card) -> Iterable[tuple[str, str]]:
    for name in card.key_variables:
        yield f"`{name}`", "path of a file with the key" if name.endswith("_PATH") else "key"
    for name in card.base_variables:
        yield f"`{name}`", "base URL" + (f"; default: <{card.default_base}>" if card.default_base else "")
    for setting in card.settings.values():
        for name in setting.variables:
            yield f"`{name}`", setting.about


def extras() -> str:
    """The table of extras in the README."""
    found = re.search(r"^\| extra \|.*\n(?:\|.*\n)+", _text("README.md"), flags=re.MULTILINE)
    assert found is not None
    return found[0].strip()


def architecture() -> str:
    """How the code is arranged, from CONTRIBUTING."""
    found = re.search(r"^## Layers\n.*?(?=^## Habits)", _text("CONTRIBUTING.md"), flags=re.DOTALL | re.MULTILINE)
    assert found is not None
    return found[0].strip()


def own_provider() -> str:
    """The page for those who add a provider, which is next to the providers."""
    return _text("integrations/anyrerank/providers/ADDING.md").partition("\n")[2].strip()


def _text(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *rows))


PARTS: Mapping[str, Callable[[], str]] = {
    "providers": lambda: markdown(cards()).strip(),
    "options": options,
    "tree": tree,
    "errors": each_error,
    "statuses": statuses,
    "variables": variables,
    "extras": extras,
    "architecture": architecture,
    "own provider": own_provider,
}


def generated(page: str) -> str:
    """A page with its generated parts anew."""
    return _PART.sub(lambda part: f"{part[1]}\n{PARTS[part[2]]()}\n\n{part[3]}", page)


def main() -> None:
    """Write every page anew that has generated parts."""
    for path in sorted(DOCS.glob("**/*.md")):
        before = path.read_text(encoding="utf-8")
        if (after := generated(before)) != before:
            path.write_text(after, encoding="utf-8")


if __name__ == "__main__":
    main()
