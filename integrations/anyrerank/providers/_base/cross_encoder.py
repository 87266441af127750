"""Cross-encoders on this machine: loaded once in a process, used by one thread at a time."""

from __future__ import annotations

import logging
import math
import re
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from typing_extensions import override

from anyrerank._core.runtime import Blocking, Flow, reset_in_child
from anyrerank._core.types import Answer, RerankRequest, repaired, texts_of
from anyrerank.errors import APIResponseValidationError, InternalServerError, NotFoundError, RerankError
from anyrerank.providers._base.provider import Provider
from anyrerank.providers._base.redaction import Redactor

Score: TypeAlias = Callable[[str, Sequence[str]], Sequence[float]]
"""A loaded model: from a query and texts to a logit for each text."""

CHUNK = 64
"""Pairs that are scored between two checks for cancellation and for the timeout."""

_log = logging.getLogger("anyrerank")


class Slot:
    """A model, once it is loaded. The lock is needed because fast tokenizers must not be used by two threads."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.score: Score | None = None


class Models:
    """The models of this process.

    Attributes:
        slots: By provider, model and settings.
    """

    def __init__(self) -> None:
        self.slots: dict[object, Slot] = {}
        self.of_parent: list[Slot] = []
        self.imported_by_parent: set[str] = set()
        reset_in_child(self, Models._reset)

    def _reset(self) -> None:
        # the threads of the parent's models do not exist in a child, so they are neither used nor freed here
        self.of_parent.extend(self.slots.values())
        self.slots = {}
        self.imported_by_parent |= {"torch"} & sys.modules.keys()


models = Models()


def imported_before_fork(library: str) -> bool:
    """Whether this process was forked from one that had imported the library."""
    return library in models.imported_by_parent


class CrossEncoder(Provider):
    """A model that reads the query together with each document and returns a logit.

    The model is a folder, or an id on the Hugging Face Hub if there is no such folder. The first call loads it, and it
    stays in memory until the process ends; all rerankers share it.
    """

    scale = "logit"
    needs_key = False
    free = True

    def load(self, folder: Path | None) -> Score:
        """Load the model in `folder`, or the one on the Hub when that is `None`."""
        raise NotImplementedError

    def slow_start_reason(self, folder: Path | None) -> str:
        """Why the first call may be slow, for a log line; `""` if it is not."""
        return "" if folder else "its files are downloaded unless this machine has them"

    @override
    def flow(self, request: RerankRequest) -> Flow[Answer]:
        if request.extra_body:
            raise self.bad_request(f"extra_body is not supported by {self.title}: no request is sent")
        slot: Slot = yield Blocking(self._loaded_slot)
        texts = list(map(repaired, texts_of(request)))  # tokenizers refuse unpaired surrogates
        query = repaired(request.query)
        longest_first = sorted(range(len(texts)), key=lambda index: -len(texts[index]))
        scores: list[tuple[int, float]] = []
        for start in range(0, len(longest_first), CHUNK):
            chunk = longest_first[start : start + CHUNK]
            logits = yield Blocking(partial(self._score, slot, request, query, [texts[index] for index in chunk]))
            scores.extend(zip(chunk, logits, strict=True))
        return Answer(scores=scores)

    def model_not_found(self, problem: str) -> NotFoundError:
        """The error for a model that does not exist."""
        return NotFoundError(problem, provider=self.prefix, model=self.connection.model)

    def download_failed(self) -> NotFoundError:
        """The error for an id that the Hub does not have, or that could not be downloaded."""
        return self.model_not_found(
            f"{self.connection.model} is neither a folder nor a model that could be downloaded from the Hugging Face "
            "Hub: check the spelling and the network, and set HF_TOKEN if the model is gated or private"
        )

    def require_one_label(self, count: Any) -> None:
        """Raise if the model is a classifier with several labels, whose logits are not relevance scores."""
        if isinstance(count, int) and count != 1:
            raise self.configuration_error(
                f"{self.deployment} is not a reranker: it must return 1 label for a pair, got {count}"
            )

    def _loaded_slot(self) -> Slot:
        folder = self._folder()
        model = self.connection.model if folder is None else folder
        slot = models.slots.setdefault((self.prefix, model, *sorted(self.connection.settings.items())), Slot())
        with slot.lock:
            if slot.score is None:
                reason = self.slow_start_reason(folder)
                _log.warning("loading %s%s", self.deployment, reason and f" ({reason})")
                slot.score = self._load(folder)
        return slot

    def _folder(self) -> Path | None:
        """The folder that the model string names, or `None` if it is an id on the Hub."""
        model = self.connection.model
        with suppress(OSError, RuntimeError, ValueError):  # a name too long for a file, an unknown home directory
            folder = Path(model).expanduser()
            if folder.is_dir():
                return folder.resolve()
        if _HUB_ID.fullmatch(model):
            return None
        raise self.model_not_found(f"there is no folder {model[:200]}, and it is not an id on the Hugging Face Hub")

    def _load(self, folder: Path | None) -> Score:
        try:
            return self.load(folder)
        except RerankError:
            raise
        except Exception as error:
            if folder is None and isinstance(error, OSError):
                raise self.download_failed() from None
            raise self.configuration_error(f"{self.deployment} cannot be loaded: {_first_line(error)}") from error

    def _score(self, slot: Slot, request: RerankRequest, query: str, texts: Sequence[str]) -> list[float]:
        assert slot.score is not None  # noqa: S101  set by `_loaded_slot`
        try:
            with slot.lock:
                scores = [float(score) for score in slot.score(query, texts)]
        except Exception as error:  # noqa: BLE001  the library may raise anything
            line = _first_line(error)
            raise InternalServerError(
                f"{self.deployment} failed: {Redactor(request).message(line, type(error).__name__)}",
                provider=self.prefix,
                model=self.connection.model,
                too_large=any(sign in line.lower() for sign in _OUT_OF_MEMORY),
            ) from None
        invalid = len(texts) - sum(map(math.isfinite, scores))
        if invalid or len(scores) != len(texts):
            raise APIResponseValidationError(
                f"{self.deployment} returned no finite score for {invalid} of {len(texts)} documents",
                provider=self.prefix,
                model=self.connection.model,
            )
        return scores


_OUT_OF_MEMORY = ("out of memory", "allocate memory", "memoryerror")
_HUB_ID = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", re.ASCII)


def _first_line(error: Exception) -> str:
    """The class and the first line of an error."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return ": ".join([type(error).__name__, *lines[:1]])[:300]
