"""The progress bar of `rerank_many`."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from types import TracebackType
from typing import Any

from anyrerank.errors import MissingExtraError


class Bar:
    """A tqdm bar, or nothing.

    Args:
        total: Number of steps.
        shown: Whether to show it; `None` to show it only in a notebook that has tqdm and ipywidgets.
        title: Text in front of the bar.

    Raises:
        MissingExtraError: `shown` is true and tqdm is not installed.
    """

    def __init__(self, total: int, shown: bool | None, title: str = "rerank") -> None:
        self._bar: Any = None
        if shown is None:
            shown = _in_notebook() and find_spec("tqdm") is not None and find_spec("ipywidgets") is not None
        if not shown:
            return
        if find_spec("tqdm") is None:
            raise MissingExtraError("progress=True needs tqdm: pip install 'anyrerank[notebook]'")
        if find_spec("ipywidgets") is None:
            from tqdm import tqdm
        else:
            from tqdm.auto import tqdm
        self._bar = tqdm(total=total, desc=title, unit="query")

    def advance(self, steps: int = 1) -> None:
        """Count steps as done."""
        if self._bar is not None:
            self._bar.update(steps)

    def __enter__(self) -> Bar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()


def _in_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return type(shell).__name__ == "ZMQInteractiveShell"
