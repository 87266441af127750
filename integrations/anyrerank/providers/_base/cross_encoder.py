"""Cross-encoders on this machine: loaded once in a process, used by one thread at a time."""

from __future__ import annotations

import logging
import math
import os
import re
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from typing_extensions import override

from anyrerank._core.runtime import Call, Flow
from anyrerank._core.types import Answer, RerankRequest, texts_of
from anyrerank.errors import APIResponseValidationError, InternalServerError, NotFoundError, RerankError
from anyrerank.providers._base.provider import Provider
from anyrerank.providers._base.redaction import Redactor

Score: TypeAlias = Callable[[str, Sequence[str]], Sequence[float]]
"""A loaded model: a logit for each of the texts."""

CHUNK = 64
"""Pairs that are scored before a cancelled task or a used-up timeout is looked at."""

_log = logging.getLogger("anyrerank")


class _Slot:
    """A model, or the place of one that is not loaded yet. Fast tokenizers refuse a second thread, hence the lock."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.score: Score | None = None


_slots: dict[object, _Slot] = {}
_left_by_a_fork: list[object] = []
"""Models of the parent: their threads are not in this process, so they are neither used nor freed here."""
_inherited: set[str] = set()


def _begin_child() -> None:
    _left_by_a_fork.extend(_slots.values())
    _slots.clear()
    _inherited.update({"torch"} & sys.modules.keys())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_child)


def inherited(library: str) -> bool:
    """Whether this process is a fork of one that had imported the library."""
    return library in _inherited


class CrossEncoder(Provider):
    """A model that reads the query with each document, and gives a logit.

    The model is a folder or an id on the Hugging Face hub; what is there as a folder is one. It is loaded by the first
    call and stays in memory until the process ends, whatever number of rerankers use it.
    """

    scale = "logit"
    needs_key = False
    free = True

    def load(self, folder: Path | None) -> Score:
        """The model in `folder`, or without one the model of this id."""
        raise NotImplementedError

    def notice(self, folder: Path | None) -> str:
        """What makes the first call slow."""
        return "" if folder else "its files are downloaded, unless this machine has them already"

    @override
    def flow(self, request: RerankRequest) -> Flow[Answer]:
        if request.extra_body:
            raise self.refuse("extra_body is merged into what is sent, and nothing is sent from here")
        slot: _Slot = yield Call(self._ready)
        texts = texts_of(request)
        places = sorted(range(len(texts)), key=lambda place: -len(texts[place]))
        scores: list[tuple[int, float]] = []
        for start in range(0, len(places), CHUNK):
            part = places[start : start + CHUNK]
            logits = yield Call(partial(self._score, slot, request, [texts[place] for place in part]))
            scores.extend(zip(part, logits, strict=True))
        return Answer(scores=scores)

    def not_found(self, problem: str) -> NotFoundError:
        """The error for a model that is not there."""
        return NotFoundError(problem, provider=self.prefix, model=self.connection.model)

    def unfetched(self) -> NotFoundError:
        """The error for an id of which the hub gave nothing."""
        return self.not_found(
            f"{self.connection.model} is neither a folder nor a model that could be had from the Hugging Face hub: "
            "look at the spelling and the connection, and set HF_TOKEN if the model asks for it"
        )

    def one_label(self, count: Any) -> None:
        """Refuse a classifier: its logits are no relevance."""
        if isinstance(count, int) and count != 1:
            raise self.misconfigured(
                f"{self.deployment} is no reranker: it gives {count} labels for a pair, where a reranker gives one"
            )

    def _ready(self) -> _Slot:
        """The place of the model, with the model in it."""
        folder = self._folder()
        where = self.connection.model if folder is None else folder
        slot = _slots.setdefault((self.prefix, where, *sorted(self.connection.settings.items())), _Slot())
        with slot.lock:
            if slot.score is None:
                notice = self.notice(folder)
                _log.warning("loading %s%s", self.deployment, notice and f" ({notice})")
                slot.score = self._loaded(folder)
        return slot

    def _folder(self) -> Path | None:
        """The folder that the model string names, or `None` for an id on the hub."""
        named = self.connection.model
        with suppress(OSError, RuntimeError, ValueError):  # a name too long for a file, a home that is not there
            folder = Path(named).expanduser()
            if folder.is_dir():
                return folder.resolve()
        if _HUB_ID.fullmatch(named):
            return None
        raise self.not_found(f"there is no folder {named[:200]}, and no id on the Hugging Face hub looks like this")

    def _loaded(self, folder: Path | None) -> Score:
        try:
            return self.load(folder)
        except RerankError:
            raise
        except Exception as error:
            if folder is None and isinstance(error, OSError):
                raise self.unfetched() from None
            raise self.misconfigured(f"{self.deployment} cannot be loaded: {_gist(error)}") from error

    def _score(self, slot: _Slot, request: RerankRequest, texts: Sequence[str]) -> list[float]:
        assert slot.score is not None  # noqa: S101  `_ready` has seen to it
        try:
            with slot.lock:
                scores = [float(score) for score in slot.score(request.query, texts)]
        except Exception as error:  # noqa: BLE001  whatever it is, there are no scores
            if any(_HALF_A_PAIR.search(text) for text in (request.query, *texts)):
                raise self.refuse("the query or a document holds unpaired surrogate characters") from None
            gist = _gist(error)
            raise InternalServerError(
                f"{self.deployment} failed: {Redactor(request).message(gist, type(error).__name__)}",
                provider=self.prefix,
                model=self.connection.model,
                too_large=any(sign in gist.lower() for sign in _OUT_OF_MEMORY),
            ) from None
        unusable = len(texts) - sum(map(math.isfinite, scores))
        if unusable or len(scores) != len(texts):
            raise APIResponseValidationError(
                f"{self.deployment} gave no finite number for {unusable} of {len(texts)} documents",
                provider=self.prefix,
                model=self.connection.model,
            )
        return scores


_OUT_OF_MEMORY = ("out of memory", "allocate memory", "memoryerror")
_HUB_ID = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", re.ASCII)
_HALF_A_PAIR = re.compile("[\ud800-\udfff]")


def _gist(error: Exception) -> str:
    """Kind and first line of an error."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return ": ".join([type(error).__name__, *lines[:1]])[:300]
