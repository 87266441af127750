"""`Key`: a row of the table of keys, and the form in which it is shown."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timezone
from typing import Any

from anyrerank.gateway.errors import bad_request
from anyrerank.gateway.rerank import digest

_PREFIX = "sk-"
_SHORTEST = 20
_CHOSEN = re.compile(rf"{_PREFIX}[!-~]{{{_SHORTEST - len(_PREFIX)},{255 - len(_PREFIX)}}}")
_SHOWN = 4
_TAG = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A row of the table of keys. Times are in seconds since 1970.

    Attributes:
        token: SHA-256 of the key, in hexadecimal.
        key_name: The key without all but its last characters.
        key_alias: A name that no other key has.
        models: Names that it may use; none for all.
        max_budget: US dollars per `budget_duration`; `None` for no limit.
        budget_duration: Such as `30d`; `None` for ever.
        rpm_limit, tpm_limit: Requests and tokens per minute.
        max_parallel_requests: Requests at the same time.
        expires: When it stops being valid.
        blocked: Whether it is refused.
        metadata: What the owner of the gateway says about it.
        first_token: The token that it had first, if it has got another one.
    """

    token: str
    key_name: str
    key_alias: str | None = None
    models: Sequence[str] = ()
    max_budget: float | None = None
    budget_duration: str | None = None
    rpm_limit: int | None = None
    tpm_limit: int | None = None
    max_parallel_requests: int | None = None
    expires: float | None = None
    blocked: bool = False
    metadata: Mapping[str, Any] = field(default_factory=dict)
    created_at: float = 0.0
    updated_at: float = 0.0
    first_token: str | None = None

    @property
    def identity(self) -> str:
        """What tells it from other keys, whatever its secret: its first token."""
        return self.first_token or self.token

    @property
    def tag(self) -> str:
        """The tag of its calls in the ledger."""
        return tag_of(self.identity)

    @property
    def end_user(self) -> str | None:
        """The end user of all its calls, if it has one."""
        found = self.metadata.get("end_user")
        return found if isinstance(found, str) and found else None

    @property
    def guardrails(self) -> tuple[str, ...]:
        """Names of guardrails for all its calls."""
        found = self.metadata.get("guardrails") or ()
        return tuple(map(str, found if isinstance(found, list | tuple) else (found,)))

    def share(self, replicas: int) -> Key:
        """The same key with the share of its limits that one of several replicas has."""
        names = ("rpm_limit", "tpm_limit", "max_parallel_requests")
        limits = {name: limit for name in names if (limit := getattr(self, name)) is not None}
        return replace(self, **{name: limit and max(1, limit // replicas) for name, limit in limits.items()})

    def shown(self) -> dict[str, Any]:
        """Its fields, as LiteLLM shows them."""
        times = {name: _iso(getattr(self, name)) for name in ("expires", "created_at", "updated_at")}
        fields = asdict(self)
        del fields["first_token"]
        return {**fields, "models": list(self.models), "user_id": self.metadata.get("user_id"), **times}


def new_secret() -> str:
    """A new key with 256 random bits."""
    return f"{_PREFIX}{secrets.token_urlsafe(32)}"


def checked_secret(given: object) -> str:
    """A key that was chosen, if it may be one.

    Raises:
        GatewayError: It may not.
    """
    if not isinstance(given, str) or _CHOSEN.fullmatch(given) is None:
        raise bad_request(
            f"key must begin with {_PREFIX} and have {_SHORTEST} to 255 letters, digits and other visible ASCII "
            "characters, at random: who guesses it can use it",
            "key",
        )
    return given


def name_of(secret: str) -> str:
    """A key without all but its last characters."""
    return f"{_PREFIX}...{secret[-_SHOWN:]}"


def token_of(key: str) -> str:
    """What is stored in place of a key; a token as it is, since LiteLLM's clients may pass either."""
    return digest(key).hex() if not is_token(key) else key.lower()


def is_token(text: str) -> bool:
    """Whether a text is a token and no key."""
    return len(text) == 64 and all(each in "0123456789abcdef" for each in text.lower())


def tag_of(token: str) -> str:
    """The tag of the calls of a key in the ledger. No caller can choose it."""
    return f"key:{token[:_TAG]}"


def _iso(moment: float | None) -> str | None:
    return None if moment is None else datetime.fromtimestamp(moment, timezone.utc).isoformat()
