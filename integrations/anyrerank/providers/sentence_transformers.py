"""On this machine: cross-encoders through sentence-transformers, on torch.

`sentence_transformers/<id on the Hugging Face hub>` or `sentence_transformers/<folder>`; an absolute folder is
`sentence_transformers//models/ce`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

from typing_extensions import override

from anyrerank._core.runtime import needed
from anyrerank.providers._base import CrossEncoder, Score, Setting, inherited

_DEVICE = re.compile(r"cpu|mps|(cuda|xpu|npu|hpu)(:\d+)?")
_DTYPES = ("float32", "bfloat16", "float16")


class SentenceTransformers(CrossEncoder):
    """Logits, before the library's own sigmoid. A pair that is longer than the model's window is cut off."""

    prefix = "sentence_transformers"
    title = "Sentence Transformers"
    extra = "sentence-transformers"
    settings: ClassVar[Mapping[str, Setting]] = MappingProxyType(
        {
            "device": Setting(about="'cpu', 'cuda', 'cuda:1', 'mps', ...; by default the best that torch finds"),
            "dtype": Setting(about="'float32', 'bfloat16' or 'float16'; by default what the model was saved in"),
            "max_length": Setting(about="Tokens of a pair that are read, if the model's window is more than needed"),
        }
    )

    @override
    def check(self) -> None:
        device, dtype, length = map(self.connection.settings.get, ("device", "dtype", "max_length"))
        if device is not None and not (isinstance(device, str) and _DEVICE.fullmatch(device)):
            raise self.misconfigured(
                f"device for {self.title} is 'cpu', 'cuda', 'cuda:1', 'mps', 'xpu', 'npu' or 'hpu', "
                f"not {str(device)[:40]!r}"
            )
        if dtype is not None and dtype not in _DTYPES:
            raise self.misconfigured(
                f"dtype for {self.title} is {', '.join(map(repr, _DTYPES))}, not {str(dtype)[:40]!r}"
            )
        if length is not None and (type(length) is not int or length < 1):
            raise self.misconfigured(f"max_length for {self.title} is an integer of at least 1")

    @override
    def notice(self, folder: Path | None) -> str:
        slow = [] if "torch" in sys.modules else ["importing torch takes about 10 s the first time"]
        if inherited("torch"):
            slow.append("one thread, as torch has no more after a fork: spawn processes instead")
        return "; ".join([*slow, *filter(None, [super().notice(folder)])])

    @override
    def load(self, folder: Path | None) -> Score:
        library, torch = (
            needed("sentence_transformers", "sentence-transformers"),
            needed("torch", "sentence-transformers"),
        )
        if inherited("torch"):
            torch.set_num_threads(1)
        settings = self.connection.settings
        encoder = library.CrossEncoder(
            str(folder or self.connection.model),
            device=settings.get("device"),
            model_kwargs={"dtype": settings["dtype"]} if "dtype" in settings else None,
        )
        self.one_label(encoder.num_labels)
        self._shorten(encoder)
        raw = torch.nn.Identity()

        def score(query: str, texts: Sequence[str]) -> Sequence[float]:
            pairs = [(query, text) for text in texts]
            scores: list[float] = encoder.predict(pairs, activation_fn=raw, show_progress_bar=False).tolist()
            return scores

        return score

    def _shorten(self, encoder: Any) -> None:
        length, window = self.connection.settings.get("max_length"), encoder.max_seq_length
        if length is None:
            return
        if window is not None and length > window:
            raise self.misconfigured(f"max_length is {length}, and {self.deployment} reads at most {window} tokens")
        encoder.max_seq_length = length
