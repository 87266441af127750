"""Resetting locks and connections in forked children."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

T = TypeVar("T")

_resets: WeakKeyDictionary[Any, Callable[[Any], None]] = WeakKeyDictionary()


def reset_in_child(owner: T, reset: Callable[[T], None]) -> None:
    """Call `reset(owner)` in every forked child, as long as `owner` exists.

    A lock that another thread held during the fork would stay locked in the child, and open connections belong to the
    parent: `reset` replaces them.

    Args:
        owner: What has the lock or the connections.
        reset: Must not refer to `owner`, which could then never be collected: pass a plain function.
    """
    _resets[owner] = reset


def _reset_all() -> None:
    for owner, reset in list(_resets.items()):
        reset(owner)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_all)
