import asyncio
import copy
import gc
import itertools
import logging
import math
import os
import pickle
import select
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"  # read when the libraries are imported
os.environ["TQDM_DISABLE"] = "1"

import sentence_transformers
import torch

import anyrerank
from anyrerank import APITimeoutError, Reranker, RerankError
from anyrerank._core.engine import connect
from anyrerank.providers import load
from anyrerank.providers._base import cross_encoder as local_models
from tests.local import tiny
from tests.support.frameworks import FACES, Face
from tests.support.harness import Mode, leaks

QUERY = "Which city is the capital of Canada?"
DOCUMENTS = [
    "Lisbon is the capital of Portugal.",
    "Ottawa is the capital of Canada.",
    "Sydney is the largest city in Australia.",
    "A river.",
]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.make(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def expected(folder: Path) -> list[float]:
    return tiny.logits(folder, QUERY, DOCUMENTS)


@pytest.fixture
def model(folder: Path) -> str:
    return f"sentence_transformers/{folder}"


@pytest.fixture(autouse=True)
def _no_model_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_models, "models", local_models.Models())


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the models that were loaded."""
    real = sentence_transformers.CrossEncoder.__init__
    seen: list[str] = []

    def init(self: Any, name: str, **options: Any) -> None:
        seen.append(name)
        real(self, name, **options)

    monkeypatch.setattr(sentence_transformers.CrossEncoder, "__init__", init)
    return seen


@pytest.fixture
def predicted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of pairs of each prediction."""
    real = sentence_transformers.CrossEncoder.predict
    sizes: list[int] = []

    def predict(self: Any, pairs: Sequence[Any], **options: Any) -> Any:
        sizes.append(len(pairs))
        return real(self, pairs, **options)

    monkeypatch.setattr(sentence_transformers.CrossEncoder, "predict", predict)
    return sizes


def best_first(scores: Sequence[float]) -> list[int]:
    return sorted(range(len(scores)), key=lambda index: -scores[index])


def test_expected_scores_differ_and_change_the_order(expected: list[float]) -> None:
    assert all(abs(one - other) > 1e-3 for one, other in itertools.combinations(expected, 2))
    assert best_first(expected) != sorted(best_first(expected))


def test_scores_are_the_logits_of_transformers(model: str, expected: list[float], mode: Mode) -> None:
    response = mode.rerank(mode.reranker(model), QUERY, DOCUMENTS)
    assert list(response.results.indexes) == best_first(expected)
    assert [each.relevance_score for each in response.results] == pytest.approx(
        sorted(expected, reverse=True), abs=1e-5
    )
    assert all(type(each.relevance_score) is float for each in response.results)
    assert (response.meta.billed_units, response.meta.tokens) == (None, None)


def test_unit_scores_are_the_scores_of_the_library(model: str, folder: Path, expected: list[float], mode: Mode) -> None:
    response = mode.rerank(mode.reranker(model), QUERY, DOCUMENTS, score_mode="unit", top_n=3)
    own = sentence_transformers.CrossEncoder(str(folder), device="cpu")
    library = own.predict([(QUERY, text) for text in DOCUMENTS], show_progress_bar=False).tolist()
    assert library == pytest.approx([1 / (1 + math.exp(-score)) for score in expected], abs=1e-5)
    assert [each.relevance_score for each in response.results] == pytest.approx(
        sorted(library, reverse=True)[:3], abs=1e-5
    )


def test_provider_attributes() -> None:
    kind = load("sentence_transformers")
    assert (kind.__name__, kind.extra, kind.scale) == ("SentenceTransformers", "sentence-transformers", "logit")
    assert (kind.needs_key, kind.options, set(kind.settings)) == (False, frozenset(), {"device", "dtype", "max_length"})


@pytest.mark.parametrize("face", FACES, ids=str)
def test_framework_adapter_ranks_like_the_model(model: str, expected: list[float], face: Face) -> None:
    adapter = face.make(model=model, top_n=2, options={"device": "cpu"})
    ranked = face.ranked(adapter, DOCUMENTS, QUERY)
    assert [text for text, _ in ranked] == [DOCUMENTS[index] for index in best_first(expected)[:2]]
    assert [score for _, score in ranked] == pytest.approx(sorted(expected, reverse=True)[:2], abs=1e-5)


def test_chunks_score_like_single_documents(model: str, folder: Path, predicted: list[int], mode: Mode) -> None:
    documents = [f"{'river ' * (index % 9)}city number {index}" for index in range(130)]
    reranker = mode.reranker(model)
    together = dict(mode.rerank(reranker, QUERY, documents).results.pairs())
    assert predicted == [64, 64, 2]
    alone = {index: mode.rerank(reranker, QUERY, [text]).results[0] for index, text in enumerate(documents)}
    assert together == pytest.approx({index: each.relevance_score for index, each in alone.items()}, abs=1e-5)
    assert together == pytest.approx(dict(enumerate(tiny.logits(folder, QUERY, documents))), abs=1e-5)


def test_long_document_is_truncated(model: str, folder: Path, mode: Mode) -> None:
    documents = ["ottawa " * 500, "ottawa " * 500 + "canada", "the river " * 300]
    scores = dict(mode.rerank(mode.reranker(model), QUERY, documents).results.pairs())
    assert scores == pytest.approx(dict(enumerate(tiny.logits(folder, QUERY, documents))), abs=1e-5)
    assert scores[0] == pytest.approx(scores[1], abs=1e-6)


def test_max_length_shortens_the_window(model: str, folder: Path, expected: list[float], mode: Mode) -> None:
    response = mode.rerank(mode.reranker(model, max_length=40), QUERY, DOCUMENTS)
    short = tiny.logits(folder, QUERY, DOCUMENTS, length=40)
    assert dict(response.results.pairs()) == pytest.approx(dict(enumerate(short)), abs=1e-5)
    assert short != pytest.approx(expected, abs=1e-3)
    with pytest.raises(anyrerank.ConfigurationError, match="max_length must be at most 64"):
        mode.rerank(mode.reranker(model, max_length=65), QUERY, DOCUMENTS)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_dtype_is_the_one_of_the_weights(
    dtype: str, model: str, expected: list[float], monkeypatch: pytest.MonkeyPatch, mode: Mode
) -> None:
    seen: list[torch.dtype] = []
    predict = sentence_transformers.CrossEncoder.predict

    def watched(self: Any, *pairs: Any, **options: Any) -> Any:
        seen.append(next(self.parameters()).dtype)
        return predict(self, *pairs, **options)

    monkeypatch.setattr(sentence_transformers.CrossEncoder, "predict", watched)
    response = mode.rerank(mode.reranker(model, dtype=dtype), QUERY, DOCUMENTS)
    assert seen == [getattr(torch, dtype)]
    assert dict(response.results.pairs()) == pytest.approx(dict(enumerate(expected)), abs=0.5)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"device": "gpu"}, "device for Sentence Transformers must be 'cpu', 'cuda'.* got 'gpu'"),
        ({"device": "cuda:x"}, "device"),
        ({"device": 0}, "device"),
        ({"dtype": "int8"}, "dtype for .* must be .* got 'int8'"),
        ({"dtype": ["float16"]}, "dtype"),
        ({"max_length": 0}, "max_length for .* must be a positive integer, got 0"),
        ({"max_length": "64"}, "max_length"),
    ],
)
def test_wrong_setting_raises_before_loading(
    given: dict[str, Any], message: str, model: str, loads: list[str], mode: Mode
) -> None:
    reranker = mode.reranker(model, **given)
    for ask in (reranker.check, lambda: mode.rerank(reranker, QUERY, DOCUMENTS)):
        with pytest.raises(anyrerank.ConfigurationError, match=message):
            ask()
    assert loads == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_missing_device_raises(model: str, mode: Mode) -> None:
    with pytest.raises(anyrerank.ConfigurationError, match=r"cannot be loaded: .*CUDA"):
        mode.rerank(mode.reranker(model, device="cuda"), QUERY, DOCUMENTS)


def empty(folder: Path) -> None:
    folder.mkdir()


def classifier(folder: Path) -> None:
    tiny.make(folder, labels=3)


def without_weights(folder: Path) -> None:
    (tiny.make(folder) / "model.safetensors").unlink()


def not_a_number(folder: Path) -> None:
    tiny.make(folder, bias=float("nan"))


@pytest.mark.parametrize(
    ("prepare", "kind", "message"),
    [
        (None, "NotFoundError", "there is no folder"),
        (empty, "ConfigurationError", "cannot be loaded"),
        (without_weights, "ConfigurationError", "cannot be loaded"),
        (classifier, "ConfigurationError", "1 label for a pair, got 3"),
        (not_a_number, "APIResponseValidationError", "no finite score for 4 of 4 documents"),
    ],
)
def test_unusable_folder_raises(
    prepare: Callable[[Path], None] | None, kind: str, message: str, tmp_path: Path, mode: Mode
) -> None:
    folder = tmp_path / "ce"
    if prepare:
        prepare(folder)
    with pytest.raises(RerankError, match=message) as caught:
        mode.rerank(mode.reranker(f"sentence_transformers/{folder}"), QUERY, DOCUMENTS)
    error = caught.value
    assert type(error) is getattr(anyrerank, kind)
    assert (error.provider, error.model) == ("sentence_transformers", str(folder))
    assert len(error.message) < 500
    assert not leaks(error, [QUERY, *DOCUMENTS])


@pytest.mark.parametrize("name", ["nobody/nothing-at-all", "nothing-at-all"])
def test_unknown_id_raises_not_found(name: str, mode: Mode) -> None:
    with pytest.raises(anyrerank.NotFoundError, match=f"{name} is neither a folder nor a model") as caught:
        mode.rerank(mode.reranker(f"sentence_transformers/{name}"), QUERY, DOCUMENTS)
    assert (caught.value.provider, caught.value.model) == ("sentence_transformers", name)
    assert "\n" not in caught.value.message


def test_missing_library_names_the_extra(model: str, monkeypatch: pytest.MonkeyPatch, mode: Mode) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(anyrerank.ConfigurationError, match=r"pip install 'anyrerank\[sentence-transformers\]'"):
        mode.rerank(mode.reranker(model), QUERY, DOCUMENTS)


def test_half_a_character_is_replaced_for_the_model(model: str, mode: Mode) -> None:
    response = mode.rerank(mode.reranker(model), QUERY, ["half a \ud83d pair"])
    assert response.results[0].document == {"text": "half a \ud83d pair"}
    replaced = mode.rerank(mode.reranker(model), QUERY, ["half a \ufffd pair"])
    assert response.results.scores == replaced.results.scores


def test_loading_is_logged_once(
    model: str,
    loads: list[str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    mode: Mode,
) -> None:
    reranker = mode.reranker(model)
    reranker.check()
    assert caplog.records == []
    with monkeypatch.context() as patched:
        patched.delitem(sys.modules, "torch")
        slow = connect(model)
        assert slow.slow_start_reason(None).startswith("importing torch takes about 10 s")  # type: ignore[attr-defined]
    for _ in range(2):
        mode.rerank(reranker, QUERY, DOCUMENTS)
    (record,) = [each for each in caplog.records if each.name == "anyrerank"]
    assert (record.levelno, record.getMessage()) == (logging.WARNING, f"loading {model}")
    assert len(loads) == 1


def test_threads_share_the_loaded_model(model: str, expected: list[float], loads: list[str], sync_mode: Mode) -> None:
    found: list[list[int]] = []

    def ask() -> None:
        reranker = sync_mode.reranker(model)
        found.extend(list(reranker.rerank(QUERY, DOCUMENTS).results.indexes) for _ in range(5))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(60)
    assert found == [best_first(expected)] * 20
    assert len(loads) == 1


def test_timeout_is_checked_between_chunks(model: str, predicted: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: 1000.0 + 9.0 * len(predicted))
    with pytest.raises(APITimeoutError, match="timed out"):
        Reranker(model).rerank(QUERY, ["river"] * 300, timeout=5.0)
    assert predicted == [64]


async def test_event_loop_is_not_blocked_by_a_prediction(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    loop, went_on = asyncio.get_running_loop(), threading.Event()
    predict = sentence_transformers.CrossEncoder.predict

    def waiting(self: Any, *pairs: Any, **options: Any) -> Any:
        loop.call_soon_threadsafe(went_on.set)
        assert went_on.wait(5), "the event loop is blocked"
        return predict(self, *pairs, **options)

    monkeypatch.setattr(sentence_transformers.CrossEncoder, "predict", waiting)
    assert len((await Reranker(model).arerank(QUERY, DOCUMENTS)).results) == 4


def pickled(reranker: Reranker) -> Reranker:
    made: Reranker = pickle.loads(pickle.dumps(reranker))  # noqa: S301  # made on the line itself
    return made


@pytest.mark.parametrize("copied", [pickled, copy.deepcopy, copy.copy])
def test_copies_share_the_loaded_model(
    copied: Callable[[Reranker], Reranker], model: str, expected: list[float], loads: list[str], mode: Mode
) -> None:
    reranker = mode.reranker(model, device="cpu")
    for each in (reranker, copied(reranker)):
        assert list(mode.rerank(each, QUERY, DOCUMENTS).results.indexes) == best_first(expected)
    assert len(loads) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_forked_process_loads_its_own_model(model: str, expected: list[float], mode: Mode) -> None:
    reranker = mode.reranker(model)
    documents = DOCUMENTS * 16  # enough to start torch's threads, which a fork does not have
    mode.rerank(reranker, QUERY, documents)
    reading, writing = os.pipe()
    gc.collect()  # the child would hang if it freed models of earlier tests, whose threads it does not have
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # from 3.12 on, as this process has threads
        child = os.fork()
    if not child:
        outcome = "failed"
        try:
            fresh = Mode(asynchronous=mode.asynchronous)
            outcome = str(fresh.rerank(reranker, QUERY, documents).results[0].index)
        finally:
            os.write(writing, outcome.encode())
            os._exit(0)
    os.close(writing)
    try:
        assert select.select([reading], [], [], 60)[0], "the child does not answer"
        assert os.read(reading, 100).decode() == str(best_first(expected)[0])
    finally:
        os.close(reading)
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
