"""On this machine: ONNX cross-encoders through fastembed, without torch.

`fastembed/<id>` for what fastembed knows (downloaded to `FASTEMBED_CACHE_PATH` the first time), `fastembed/<folder>`
for a folder with `model.onnx` or `onnx/model.onnx` beside a `tokenizer.json` and a `tokenizer_config.json`; an absolute
folder is `fastembed//models/ce`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

from typing_extensions import override

from anyrerank._core.runtime import needed
from anyrerank.providers._base import CrossEncoder, Score, Setting

_MODULE = "fastembed.rerank.cross_encoder"


class FastEmbed(CrossEncoder):
    """Logits. A pair that is longer than the model's window is cut off at its end."""

    prefix = "fastembed"
    title = "FastEmbed"
    extra = "fastembed"
    settings: ClassVar[Mapping[str, Setting]] = MappingProxyType(
        {
            "device": Setting(about="'cpu' or 'cuda'; by default CUDA where onnxruntime has it"),
            "threads": Setting(about="How many threads one prediction may use; by default one for each core"),
        }
    )

    @override
    def check(self) -> None:
        device, threads = map(self.connection.settings.get, ("device", "threads"))
        if device not in (None, "cpu", "cuda"):
            raise self.misconfigured(f"device for {self.title} is 'cpu' or 'cuda', not {str(device)[:40]!r}")
        if threads is not None and (type(threads) is not int or threads < 1):
            raise self.misconfigured(f"threads for {self.title} is an integer of at least 1")

    @override
    def load(self, folder: Path | None) -> Score:
        kind = needed(_MODULE, "fastembed").TextCrossEncoder
        options: dict[str, Any] = {"threads": self.connection.settings.get("threads")}
        device = self.connection.settings.get("device")
        if device is not None:
            options["cuda"] = device == "cuda"
        if (
            device == "cuda"
            and "CUDAExecutionProvider" not in needed("onnxruntime", "fastembed").get_available_providers()
        ):
            raise self.misconfigured("onnxruntime has no CUDA here: pip install fastembed-gpu in place of fastembed")
        name = self.connection.model
        if folder is not None:
            name = self._registered(kind, self._onnx_file(folder))
            options["specific_model_path"] = str(folder)
        elif name.lower() not in {each["model"].lower() for each in kind.list_supported_models()}:
            raise self.not_found(
                f"fastembed knows no reranker {name[:200]}, and there is no such folder; what it knows: "
                f"python -c 'from {_MODULE} import TextCrossEncoder as T; print(T.list_supported_models())'"
            )
        try:
            encoder = kind(name, **options)
        except ValueError:
            if folder is None:
                raise self.unfetched() from None
            raise
        self.one_label(encoder.model.model.get_outputs()[0].shape[-1])

        def score(query: str, texts: Sequence[str]) -> Sequence[float]:
            return list(encoder.rerank(query, texts, batch_size=32))

        return score

    def _onnx_file(self, folder: Path) -> str:
        """The model in a folder: the one of the usual name, or else the only one."""
        found = sorted(
            path.relative_to(folder).as_posix() for path in (*folder.glob("*.onnx"), *folder.glob("onnx/*.onnx"))
        )
        usual = [name for name in ("model.onnx", "onnx/model.onnx") if name in found]
        if usual or len(found) == 1:
            return (usual or found)[0]
        raise self.misconfigured(
            f"{folder} holds {'several ONNX files' if found else 'no ONNX file'}: fastembed/ needs one that is called "
            "model.onnx or onnx/model.onnx, or is the only one"
        )

    def _registered(self, kind: Any, model_file: str) -> str:
        """The name under which fastembed finds this file in whatever folder it is given."""
        source = needed("fastembed.common.model_description", "fastembed").ModelSource
        name = f"anyrerank:{model_file}"
        with suppress(ValueError):
            kind.add_custom_model(name, sources=source(hf=name), model_file=model_file)
        return name
