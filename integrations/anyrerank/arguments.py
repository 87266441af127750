"""What callers pass as numbers, before anything is counted with it."""

from __future__ import annotations

import sys
from typing import TypeGuard


def is_number(value: object) -> TypeGuard[float]:
    """Whether `value` is a number that a float can hold: no bool, no NaN, nothing infinite or beyond 1.8e308."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
