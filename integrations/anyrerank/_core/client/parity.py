"""Signatures of asynchronous functions."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine
from functools import update_wrapper
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])


def same_parameters(
    sync: Callable[P, R],
) -> Callable[[Callable[..., Coroutine[Any, Any, R]]], Callable[P, Coroutine[Any, Any, R]]]:
    """Give an asynchronous function the signature and the docstring of its synchronous counterpart."""
    return same_overloads(sync)


def same_overloads(sync: Callable[..., Any]) -> Callable[[F], F]:
    """`same_parameters` for functions with overloads, which type checkers read instead."""

    def decorate(function: F) -> F:
        update_wrapper(function, sync, assigned=("__doc__", "__annotations__"))
        function.__signature__ = inspect.signature(sync)  # type: ignore[attr-defined]
        return function

    return decorate
