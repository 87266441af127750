"""A small model for FastEmbed, and its predictions."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.unit.providers.fastembed.models import Predict

from anyrerank.providers._base import cross_encoder as local_models


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    from tests.unit.providers.overlap_onnx import make

    return f"fastembed/{make(tmp_path_factory.mktemp('overlap'))}"


@pytest.fixture(autouse=True)
def _no_model_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_models, "models", local_models.Models())
    monkeypatch.setenv("FASTEMBED_CACHE_PATH", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture
def predicting(monkeypatch: pytest.MonkeyPatch) -> Callable[[Predict], None]:
    """Wraps every prediction in a function, which gets the texts and the prediction to call."""
    from fastembed.rerank.cross_encoder import TextCrossEncoder

    real = TextCrossEncoder.rerank

    def put(around: Predict) -> None:
        def rerank(self: Any, query: str, texts: Sequence[str], **options: Any) -> list[float]:
            return around(texts, lambda: list(real(self, query, texts, **options)))

        monkeypatch.setattr(TextCrossEncoder, "rerank", rerank)

    return put


@pytest.fixture
def predicted(predicting: Callable[[Predict], None]) -> list[int]:
    """The number of texts of each prediction."""
    sizes: list[int] = []

    def around(texts: Sequence[str], predict: Callable[[], list[float]]) -> list[float]:
        sizes.append(len(texts))
        return predict()

    predicting(around)
    return sizes


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The options of each model that was loaded."""
    from fastembed.rerank.cross_encoder import TextCrossEncoder

    real = TextCrossEncoder.__init__
    seen: list[dict[str, Any]] = []

    def init(self: Any, name: str, **options: Any) -> None:
        seen.append({"name": name, **options})
        real(self, name, **options)

    monkeypatch.setattr(TextCrossEncoder, "__init__", init)
    return seen
