"""The type of a document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

Document: TypeAlias = str | Mapping[str, Any]
"""A string, or a mapping with a `text` and any other fields, which are returned with the result."""
