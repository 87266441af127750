"""The fields of requests about keys and customers: LiteLLM's names, checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from anyrerank._core.pricing import seconds_of
from anyrerank._core.runtime import did_you_mean
from anyrerank.errors import ConfigurationError
from anyrerank.gateway.errors import bad_request
from anyrerank.gateway.rerank import checked_end_user

_NEVER = "-1"
_LARGEST = 2**63 - 1
_LONGEST = 36_500 * 86_400.0
_ALL_MODELS = "all-proxy-models"
_UNKNOWN_GROUPS = frozenset({"all-team-models", "no-default-models"})
_KEY_TYPES = ("default", "llm_api")
"""Kinds of keys that may call models and not manage anything, as all of ours."""
_HARMLESS = frozenset({"soft_budget", "send_invite_email", "spend", "tags", "team_alias", "user_id", "user_email"})
_WITHOUT_EFFECT = {
    "user_id": "user_id is a label: there are no users with budgets here; give the key a max_budget",
    "soft_budget": "soft_budget is a label: nothing is sent when it is reached; the metrics show what is left",
}
"""Fields with an effect at LiteLLM's proxy that are metadata here."""
_RESTRICTING = frozenset(
    {
        "access_group_ids",
        "agent_id",
        "aliases",
        "auto_rotate",
        "config",
        "enforced_params",
        "key_type",
        "object_permission",
        "organization_id",
        "permissions",
        "policies",
        "project_id",
        "prompts",
        "rotation_interval",
        "router_settings",
        "team_id",
    }
)
_RESTRICTING_WORDS = (
    "allowed",
    "budget",
    "block",
    "deny",
    "expir",
    "forbid",
    "limit",
    "max_",
    "permission",
    "restrict",
    "rpm",
    "tpm",
)
"""A field with one of these in its name limits something, so that ignoring it would give more than was asked for."""

T = TypeVar("T", bound=BaseModel)


def _duration(text: str) -> str:
    try:
        seconds = seconds_of(text)
    except ConfigurationError:
        raise ValueError("must be a length of time such as '30s', '12h' or '30d'") from None
    if seconds > _LONGEST:
        raise ValueError("must be at most 36500d; null is for ever")
    return text


def _plain(text: str) -> str:
    if not text.isprintable():
        raise ValueError("must be printable text")
    return text


_Duration = Annotated[str, AfterValidator(_duration)]
_Plain = Annotated[str, Field(min_length=1, max_length=255), AfterValidator(_plain)]
_Dollars = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]
_Count = Annotated[int, Field(strict=True, ge=0, le=_LARGEST)]


class _Given(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True, hide_input_in_errors=True, strict=True)


class KeyFields(_Given):
    """The fields of a key. Other fields are stored as metadata, unless they would restrict it."""

    key_alias: _Plain | None = None
    models: list[_Plain] | None = None
    max_budget: _Dollars | None = None
    budget_duration: _Duration | None = None
    rpm_limit: _Count | None = None
    tpm_limit: _Count | None = None
    max_parallel_requests: _Count | None = None
    duration: Annotated[str, AfterValidator(lambda text: text if text == _NEVER else _duration(text))] | None = None
    blocked: bool | None = None
    metadata: dict[str, Any] | None = None


class CustomerFields(_Given):
    """The fields of an end user."""

    user_id: str
    max_budget: _Dollars | None = None
    budget_duration: _Duration | None = None
    blocked: bool | None = None


def columns_of_key(body: Mapping[str, Any], now: float) -> dict[str, Any]:
    """The columns that a request sets. The column `metadata` holds only what the request adds to it.

    Args:
        body: The request.
        now: Seconds since 1970.

    Raises:
        GatewayError: A field has a wrong value, or restricts the key in a way that is not supported.
    """
    fields = _checked(KeyFields, body)
    given = {name: getattr(fields, name) for name in fields.model_fields_set & KeyFields.model_fields.keys()}
    columns = {name: value for name, value in given.items() if name not in ("duration", "metadata", "models")}
    if "duration" in given:
        duration = given["duration"]
        columns["expires"] = None if duration in (None, _NEVER) else now + seconds_of(duration)
    if "models" in given:
        columns["models"] = _models(given["models"] or [])
    if "blocked" in columns:
        columns["blocked"] = bool(columns["blocked"])
    added = {name: value for name, value in (fields.model_extra or {}).items() if value is not None}
    if added or "metadata" in given:
        columns["metadata"] = {**(given.get("metadata") or {}), **added}
        if (pinned := columns["metadata"].get("end_user")) is not None:
            checked_end_user(pinned, "metadata.end_user")  # one that is not understood would not be pinned
        names = columns["metadata"].get("guardrails") or []
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise bad_request("guardrails must be a list of names of guardrails", "guardrails")
    return columns


def warnings_about(body: Mapping[str, Any], is_known: Callable[[str], bool]) -> list[str]:
    """What a request about a key asks for that has no effect.

    Args:
        body: The request, without wrong values.
        is_known: Whether the gateway has a model of a name.
    """
    found = [text for name, text in _WITHOUT_EFFECT.items() if body.get(name) is not None]
    unknown = [name for name in body.get("models") or () if name != _ALL_MODELS and not is_known(name)]
    if unknown:
        found.append(f"the gateway has no model {', '.join(unknown)} now: the key may use it once it has")
    return found


def columns_of_customer(body: Mapping[str, Any]) -> dict[str, Any]:
    """The columns that a request about an end user sets.

    Raises:
        GatewayError: A field has a wrong value, or restricts the user in a way that is not supported.
    """
    fields = _checked(CustomerFields, body)
    checked_end_user(fields.user_id, "user_id")
    columns = {name: getattr(fields, name) for name in fields.model_fields_set & CustomerFields.model_fields.keys()}
    if "blocked" in columns:
        columns["blocked"] = bool(columns["blocked"])
    return columns


def _checked(model: type[T], body: Mapping[str, Any]) -> T:
    for name, value in body.items():
        if name == "key_type" and value in _KEY_TYPES:
            continue
        if name not in model.model_fields and value not in (None, "", [], {}, False) and restricts(name):
            hint = did_you_mean(name[:80], model.model_fields)
            raise bad_request(
                f"{name[:80]} is not supported, and ignoring it would give more than it allows{hint}", name[:80]
            )
    try:
        return model(**body)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = str(first["loc"][0])
        reason = str(first.get("ctx", {}).get("error") or first["msg"])
        raise bad_request(f"{name}: {reason}", name) from None
    except TypeError:
        raise bad_request("a field has an invalid name") from None


def restricts(name: str) -> bool:
    """Whether a field of this name would limit what a key may do."""
    plain = name.lower()
    return name not in _HARMLESS and (plain in _RESTRICTING or any(word in plain for word in _RESTRICTING_WORDS))


def _models(names: list[str]) -> list[str]:
    if unknown := sorted(_UNKNOWN_GROUPS.intersection(names)):
        raise bad_request(f"models: {unknown[0]} is not supported: list the names", "models")
    return [] if _ALL_MODELS in names else list(dict.fromkeys(names))
