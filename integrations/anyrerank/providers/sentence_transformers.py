"""Cross-encoders on this machine, through sentence-transformers and torch."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

from typing_extensions import override

from anyrerank._core.runtime import check_installed, import_optional
from anyrerank.providers._base import CrossEncoder, Score, Setting, imported_before_fork

_EXTRA = "sentence-transformers"
_DEVICE = re.compile(r"cpu|mps|(cuda|xpu|npu|hpu)(:\d+)?")
_DTYPES = ("float32", "bfloat16", "float16")


class SentenceTransformers(CrossEncoder):
    """Cross-encoders on this machine. Scores are logits; a pair longer than the model's window is truncated.

    The model is an id on the Hugging Face Hub or a folder; an absolute path gives two slashes, as in
    `sentence_transformers//models/ce`.
    """

    prefix = "sentence_transformers"
    title = "Sentence Transformers"
    extra = _EXTRA
    settings: ClassVar[Mapping[str, Setting]] = MappingProxyType(
        {
            "device": Setting(about="'cpu', 'cuda', 'cuda:1', 'mps', ...; by default the best that torch finds"),
            "dtype": Setting(about="'float32', 'bfloat16' or 'float16'; by default the one the model was saved with"),
            "max_length": Setting(about="tokens of a pair that the model reads; by default its whole window"),
        }
    )

    @override
    def check(self) -> None:
        device, dtype, length = map(self.connection.settings.get, ("device", "dtype", "max_length"))
        if device is not None and not (isinstance(device, str) and _DEVICE.fullmatch(device)):
            raise self._wrong_setting("device", "'cpu', 'cuda', 'cuda:1', 'mps', 'xpu', 'npu' or 'hpu'")
        if dtype is not None and dtype not in _DTYPES:
            raise self._wrong_setting("dtype", "'float32', 'bfloat16' or 'float16'")
        if length is not None and (type(length) is not int or length < 1):
            raise self._wrong_setting("max_length", "a positive integer")
        check_installed("sentence_transformers", _EXTRA)

    def _wrong_setting(self, name: str, expected: str) -> Exception:
        value = self.connection.settings[name]
        return self.configuration_error(f"{name} for {self.title} must be {expected}, got {value!r:.40}")

    @override
    def slow_start_reason(self, folder: Path | None) -> str:
        reasons = [] if "torch" in sys.modules else ["importing torch takes about 10 s the first time"]
        if imported_before_fork("torch"):
            reasons.append("torch has only one thread after a fork: spawn processes instead")
        return "; ".join([*reasons, *filter(None, [super().slow_start_reason(folder)])])

    @override
    def load(self, folder: Path | None) -> Score:
        library, torch = import_optional("sentence_transformers", _EXTRA), import_optional("torch", _EXTRA)
        if imported_before_fork("torch"):
            torch.set_num_threads(1)
        settings = self.connection.settings
        encoder = library.CrossEncoder(
            str(folder or self.connection.model),
            device=settings.get("device"),
            model_kwargs={"dtype": settings["dtype"]} if "dtype" in settings else None,
        )
        self.require_one_label(encoder.num_labels)
        self._set_max_length(encoder)
        raw = torch.nn.Identity()  # instead of the library's sigmoid

        def score(query: str, texts: Sequence[str]) -> Sequence[float]:
            pairs = [(query, text) for text in texts]
            scores: list[float] = encoder.predict(pairs, activation_fn=raw, show_progress_bar=False).tolist()
            return scores

        return score

    def _set_max_length(self, encoder: Any) -> None:
        length, window = self.connection.settings.get("max_length"), encoder.max_seq_length
        if length is None:
            return
        if window is not None and length > window:
            raise self.configuration_error(
                f"max_length must be at most {window}, which is what {self.deployment} reads, got {length}"
            )
        encoder.max_seq_length = length
