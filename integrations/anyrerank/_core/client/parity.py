"""Signatures of asynchronous functions."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def same_parameters(
    sync: Callable[P, R],
) -> Callable[[Callable[..., Coroutine[Any, Any, R]]], Callable[P, Coroutine[Any, Any, R]]]:
    """Give an asynchronous function the signature and the docstring of its synchronous counterpart."""

    def decorate(function: Callable[..., Coroutine[Any, Any, R]]) -> Callable[P, Coroutine[Any, Any, R]]:
        twin = wraps(sync, assigned=("__doc__", "__annotations__"))(function)
        twin.__signature__ = inspect.signature(sync)  # type: ignore[attr-defined]
        return twin

    return decorate
