"""ONNX cross-encoders on this machine, through fastembed and without torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

from typing_extensions import override

from anyrerank._core.runtime import check_installed, import_optional
from anyrerank.providers._base import CrossEncoder, Score, Setting

_MODULE = "fastembed.rerank.cross_encoder"


class FastEmbed(CrossEncoder):
    """ONNX cross-encoders on this machine. Scores are logits; a pair longer than the model's window is truncated.

    `fastembed/<id>` is a model that fastembed knows. The first call downloads it to `FASTEMBED_CACHE_PATH`.
    `fastembed/<folder>` is a folder with `model.onnx` or `onnx/model.onnx`, `tokenizer.json` and
    `tokenizer_config.json`; an absolute path gives two slashes, as in `fastembed//models/ce`.
    """

    prefix = "fastembed"
    title = "FastEmbed"
    extra = "fastembed"
    settings: ClassVar[Mapping[str, Setting]] = MappingProxyType(
        {
            "device": Setting(about="'cpu' or 'cuda'; by default CUDA where onnxruntime has it"),
            "threads": Setting(about="threads for one prediction; by default one for each core"),
        }
    )

    @override
    def check(self) -> None:
        device, threads = map(self.connection.settings.get, ("device", "threads"))
        if device not in (None, "cpu", "cuda"):
            raise self.configuration_error(f"device for {self.title} must be 'cpu' or 'cuda', got {device!r:.40}")
        if threads is not None and (type(threads) is not int or threads < 1):
            raise self.configuration_error(f"threads for {self.title} must be a positive integer, got {threads!r:.40}")
        check_installed("fastembed", "fastembed")

    @override
    def load(self, folder: Path | None) -> Score:
        kind = import_optional(_MODULE, "fastembed").TextCrossEncoder
        options: dict[str, Any] = {"threads": self.connection.settings.get("threads"), **self._device_options()}
        name = self.connection.model
        if folder is not None:
            name = self._registered(kind, self._onnx_file(folder))
            options["specific_model_path"] = str(folder)
        elif name.lower() not in {each["model"].lower() for each in kind.list_supported_models()}:
            raise self.model_not_found(
                f"fastembed knows no reranker {name[:200]}, and there is no such folder; list the models it knows with "
                f"python -c 'from {_MODULE} import TextCrossEncoder as T; print(T.list_supported_models())'"
            )
        try:
            encoder = kind(name, **options)
        except ValueError:
            if folder is None:
                raise self.download_failed() from None
            raise
        self.require_one_label(encoder.model.model.get_outputs()[0].shape[-1])

        def score(query: str, texts: Sequence[str]) -> Sequence[float]:
            return list(encoder.rerank(query, texts, batch_size=32))

        return score

    def _device_options(self) -> dict[str, bool]:
        device = self.connection.settings.get("device")
        if device is None:
            return {}
        if device == "cuda" and not _has_cuda():
            raise self.configuration_error(
                "device is 'cuda', but the installed onnxruntime has no CUDA: pip install fastembed-gpu instead of "
                "fastembed"
            )
        return {"cuda": device == "cuda"}

    def _onnx_file(self, folder: Path) -> str:
        """The model in a folder: the file with the usual name, else the only one."""
        found = sorted(
            path.relative_to(folder).as_posix() for path in (*folder.glob("*.onnx"), *folder.glob("onnx/*.onnx"))
        )
        usual = [name for name in ("model.onnx", "onnx/model.onnx") if name in found]
        if usual or len(found) == 1:
            return (usual or found)[0]
        raise self.configuration_error(
            f"{folder} holds {'several ONNX files' if found else 'no ONNX file'}: fastembed/ needs one named "
            "model.onnx or onnx/model.onnx, or exactly one file"
        )

    def _registered(self, kind: Any, model_file: str) -> str:
        """The name under which fastembed looks for this file in the folder that it is given."""
        source = import_optional("fastembed.common.model_description", "fastembed").ModelSource
        name = f"anyrerank:{model_file}"
        with suppress(ValueError):  # registered already
            kind.add_custom_model(name, sources=source(hf=name), model_file=model_file)
        return name


def _has_cuda() -> bool:
    return "CUDAExecutionProvider" in import_optional("onnxruntime", "fastembed").get_available_providers()
