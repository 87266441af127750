"""What those who manage a gateway have asked of it, for its access log."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from starlette.types import Scope

from anyrerank.gateway.errors import STATUSES, GatewayError
from anyrerank.gateway.rerank import request_id_of


@dataclass(slots=True, kw_only=True)
class Action:
    """A request about keys, end users, spend or the configuration, and what became of it.

    Attributes:
        route: The path as it is served, such as `/key/{key}/regenerate`.
        request_id: The client's id of the request, or one that was made for it.
        caller: The alias of the key that asked, once that is known.
        details: What it was about, without secrets.
        status: HTTP status of the answer.
        error: The kind of the problem, if there was one.
        seconds: How long it took.
    """

    route: str
    request_id: str
    caller: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    status: int = 200
    error: str | None = None
    seconds: float = 0.0


class Auditor(Protocol):
    """What an action needs of the gateway."""

    def acted(self, action: Action) -> None:
        """Gets each action when it was answered."""
        ...


@contextmanager
def audited(auditor: Auditor, route: str, scope: Scope) -> Iterator[Action]:
    """An action, to be completed inside the block, which answers the request or raises why it does not."""
    action, began = Action(route=route, request_id=request_id_of(scope)), time.perf_counter()
    try:
        yield action
    except GatewayError as error:
        action.status, action.error = STATUSES[error.kind], error.kind
        raise
    except Exception:
        action.status, action.error = STATUSES["internal_error"], "internal_error"
        raise
    finally:
        action.seconds = time.perf_counter() - began
        auditor.acted(action)
