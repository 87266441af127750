import asyncio
import copy
import gc
import logging
import math
import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tests.support.frameworks import FACES, Face
from tests.support.harness import Mode, leaks
from tests.support.processes import forked

import anyrerank
from anyrerank import APITimeoutError, BadRequestError, InternalServerError, Reranker, RerankError
from anyrerank.providers import load
from anyrerank.providers._base import cross_encoder as local_models

pytest.importorskip("onnx")
cross_encoder: Any = pytest.importorskip("fastembed.rerank.cross_encoder")
from tests.unit.providers.overlap_onnx import WINDOW, make  # noqa: E402

QUERY = "Which city is the capital of Canada?"
DOCUMENTS = [
    "Lisbon is the capital of Portugal",
    "Sydney in Australia",
    "Ottawa is the capital of Canada",
    "the river",
]
SCORES = [4.0, 0.0, 5.0, 1.0]
ORDER = [2, 0, 3, 1]


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"fastembed/{make(tmp_path_factory.mktemp('overlap'))}"


@pytest.fixture(autouse=True)
def _no_model_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_models, "models", local_models.Models())
    monkeypatch.setenv("FASTEMBED_CACHE_PATH", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


Predict = Callable[[Sequence[str], Callable[[], list[float]]], list[float]]


@pytest.fixture
def predicting(monkeypatch: pytest.MonkeyPatch) -> Callable[[Predict], None]:
    """Wraps every prediction in a function, which gets the texts and the prediction to call."""
    real = cross_encoder.TextCrossEncoder.rerank

    def put(around: Predict) -> None:
        def rerank(self: Any, query: str, texts: Sequence[str], **options: Any) -> list[float]:
            return around(texts, lambda: list(real(self, query, texts, **options)))

        monkeypatch.setattr(cross_encoder.TextCrossEncoder, "rerank", rerank)

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
    real = cross_encoder.TextCrossEncoder.__init__
    seen: list[dict[str, Any]] = []

    def init(self: Any, name: str, **options: Any) -> None:
        seen.append({"name": name, **options})
        real(self, name, **options)

    monkeypatch.setattr(cross_encoder.TextCrossEncoder, "__init__", init)
    return seen


def test_scores_are_the_logits_of_the_model(model: str, mode: Mode) -> None:
    response = mode.rerank(mode.reranker(model), QUERY, DOCUMENTS)
    assert list(response.results.indexes) == ORDER
    assert [each.relevance_score for each in response.results] == [SCORES[index] for index in ORDER]
    assert [each.document for each in response.results] == [{"text": DOCUMENTS[index]} for index in ORDER]
    assert (response.meta.billed_units, response.meta.tokens, response.provider) == (None, None, "fastembed")


def test_provider_attributes() -> None:
    kind = load("fastembed")
    assert (kind.__name__, kind.prefix, kind.extra, kind.scale) == ("FastEmbed", "fastembed", "fastembed", "logit")
    assert (kind.needs_key, kind.options, set(kind.settings)) == (False, frozenset(), {"device", "threads"})
    assert not kind.listwise


def test_call_options_apply(model: str, mode: Mode) -> None:
    reranker = mode.reranker(model)
    unit = mode.rerank(reranker, QUERY, DOCUMENTS, score_mode="unit", top_n=2)
    assert [each.relevance_score for each in unit.results] == pytest.approx([1 / (1 + math.exp(-x)) for x in (5, 4)])
    assert list(mode.rerank(reranker, QUERY, DOCUMENTS, score_threshold=1.0).results.indexes) == ORDER[:3]
    documents = [{"title": "capital of Canada", "text": "river"}, "", {"title": "river", "text": "capital of Canada"}]
    assert list(mode.rerank(reranker, QUERY, documents).results.indexes) == [2, 0, 1]
    assert list(mode.rerank(reranker, QUERY, documents, rank_fields=["title"]).results.indexes) == [0, 2, 1]
    with pytest.raises(BadRequestError, match="max_chunks_per_doc"):
        mode.rerank(reranker, QUERY, DOCUMENTS, max_chunks_per_doc=3)


def test_extra_body_raises(model: str, mode: Mode) -> None:
    with pytest.raises(BadRequestError, match="extra_body"):
        mode.rerank(mode.reranker(model, extra_body={"beta": 1}), QUERY, DOCUMENTS)


@pytest.mark.parametrize("face", FACES, ids=str)
def test_framework_adapter_ranks_like_the_model(model: str, face: Face) -> None:
    adapter = face.make(model=model, top_n=2, options={"threads": 1})
    assert face.ranked(adapter, DOCUMENTS, QUERY) == [(DOCUMENTS[2], 5.0), (DOCUMENTS[0], 4.0)]


def test_long_document_is_truncated(model: str, sync_mode: Mode) -> None:
    room = WINDOW - len(["[CLS]", *QUERY.split(), "?", "[SEP]", "[SEP]"])
    long = "the " * 500
    response = sync_mode.rerank(sync_mode.reranker(model), QUERY, [long, "river " * room + "Canada"])
    assert [each.relevance_score for each in response.results] == [room, 0]


def test_chunks_score_like_single_documents(model: str, predicted: list[int], mode: Mode) -> None:
    documents = [f"{'the capital ' * (index % 7)}of {'river ' * (index % 5)}" for index in range(130)]
    reranker = mode.reranker(model)
    together = dict(mode.rerank(reranker, QUERY, documents).results.pairs())
    assert predicted == [64, 64, 2]
    for index, document in enumerate(documents):
        (alone,) = mode.rerank(reranker, QUERY, [document]).results
        assert together[index] == pytest.approx(alone.relevance_score, abs=1e-5)
        assert together[index] == 1 + 2 * (index % 7)


def test_documents_of_similar_length_are_scored_together(
    model: str, predicting: Callable[[Predict], None], sync_mode: Mode
) -> None:
    chunks: list[set[int]] = []

    def around(texts: Sequence[str], predict: Callable[[], list[float]]) -> list[float]:
        chunks.append({len(text) for text in texts})
        return predict()

    predicting(around)
    sync_mode.rerank(sync_mode.reranker(model), QUERY, ["the", "the capital"] * 64)
    assert chunks == [{11}, {3}]


@pytest.mark.parametrize(
    "file", ["model.onnx", "onnx/model.onnx", "model_int8.onnx", "onnx/model_quantized.onnx"], ids=str
)
def test_model_file_is_found_in_the_folder(file: str, tmp_path: Path, sync_mode: Mode) -> None:
    reranker = sync_mode.reranker(f"fastembed/{make(tmp_path / 'ce', file=file)}")
    assert list(sync_mode.rerank(reranker, QUERY, DOCUMENTS).results.indexes) == ORDER


def test_file_with_the_usual_name_is_preferred(tmp_path: Path, sync_mode: Mode) -> None:
    folder = make(make(tmp_path, file="a.onnx", last="Neg"), file="model.onnx")
    reranker = sync_mode.reranker(f"fastembed/{folder}")
    assert list(sync_mode.rerank(reranker, QUERY, DOCUMENTS).results.indexes) == ORDER


@pytest.mark.parametrize("named", ["ce", "./ce", "models/../ce", "~/ce", "{home}/ce/"])
def test_folder_is_absolute_relative_or_in_the_home_directory(
    named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loads: list[Any], sync_mode: Mode
) -> None:
    make(tmp_path / "ce")
    (tmp_path / "models").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for each in (named, str(tmp_path / "ce")):
        reranker = sync_mode.reranker(f"fastembed/{each.format(home=tmp_path)}")
        assert list(sync_mode.rerank(reranker, QUERY, DOCUMENTS).results.indexes) == ORDER
    assert len(loads) == 1


@pytest.mark.parametrize("name", ["Xenova/ms-marco-MiniLM-L-6-v2", "xenova/MS-MARCO-minilm-l-6-v2"])
def test_known_id_is_loaded_by_fastembed(
    name: str, model: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, mode: Mode
) -> None:
    folder = Path(model.partition("/")[2])
    kind = cross_encoder.TextCrossEncoder.CROSS_ENCODER_REGISTRY[0]
    monkeypatch.setattr(kind, "download_model", lambda *arguments, **options: folder)
    response = mode.rerank(mode.reranker(f"fastembed/{name}"), QUERY, DOCUMENTS)
    assert list(response.results.indexes) == ORDER
    assert "its files are downloaded" in caplog.text


@pytest.mark.parametrize(
    ("given", "loaded"),
    [
        ({}, {"threads": None}),
        ({"device": "cpu", "threads": 2}, {"threads": 2, "cuda": False}),
    ],
)
def test_settings_are_passed_to_fastembed(
    given: dict[str, Any], loaded: dict[str, Any], model: str, loads: list[Any], mode: Mode
) -> None:
    mode.rerank(mode.reranker(model, **given), QUERY, DOCUMENTS)
    (seen,) = loads
    assert seen == {"name": "anyrerank:onnx/model.onnx", "specific_model_path": model.partition("/")[2], **loaded}


def test_each_combination_of_settings_loads_its_own_model(model: str, loads: list[Any], sync_mode: Mode) -> None:
    for threads in (1, 2, 1):
        sync_mode.rerank(sync_mode.reranker(model, threads=threads), QUERY, DOCUMENTS)
    assert [each["threads"] for each in loads] == [1, 2]


WRONG_SETTINGS = [
    ({"device": "gpu"}, "device for FastEmbed must be 'cpu' or 'cuda', got 'gpu'"),
    ({"device": ["cpu"]}, "device"),
    ({"threads": 0}, "threads for FastEmbed must be a positive integer, got 0"),
    ({"threads": "2"}, "threads"),
    ({"threads": True}, "threads"),
]


@pytest.mark.parametrize(("given", "message"), WRONG_SETTINGS)
def test_wrong_setting_raises_before_loading(
    given: dict[str, Any], message: str, model: str, loads: list[Any], mode: Mode
) -> None:
    reranker = mode.reranker(model, **given)
    for ask in (reranker.check, lambda: mode.rerank(reranker, QUERY, DOCUMENTS)):
        with pytest.raises(anyrerank.ConfigurationError, match=message):
            ask()
    assert loads == []


def test_cuda_without_onnxruntime_gpu_names_the_package(
    model: str, loads: list[Any], monkeypatch: pytest.MonkeyPatch, mode: Mode
) -> None:
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(anyrerank.ConfigurationError, match="pip install fastembed-gpu"):
        mode.rerank(mode.reranker(model, device="cuda"), QUERY, DOCUMENTS)
    assert loads == []


def empty(folder: Path) -> None:
    folder.mkdir()


def several(folder: Path) -> None:
    make(make(folder, file="a.onnx"), file="b.onnx")


def without_tokenizer(folder: Path) -> None:
    (make(folder) / "tokenizer.json").unlink()


def broken(folder: Path) -> None:
    (make(folder) / "onnx" / "model.onnx").write_bytes(b"not an ONNX file")


def classifier(folder: Path) -> None:
    make(folder, labels=3)


def infinite(folder: Path) -> None:
    make(folder, last="Log")


def not_a_number(folder: Path) -> None:
    make(folder, last="Acos")


def a_file(folder: Path) -> None:
    folder.write_text("model")


FAULTS: list[tuple[Any, str, str]] = [
    (None, "NotFoundError", "there is no folder"),
    (a_file, "NotFoundError", "there is no folder"),
    (empty, "ConfigurationError", "no ONNX file"),
    (several, "ConfigurationError", "several ONNX files"),
    (without_tokenizer, "ConfigurationError", "tokenizer.json"),
    (broken, "ConfigurationError", "cannot be loaded"),
    (classifier, "ConfigurationError", "1 label for a pair, got 3"),
    (infinite, "APIResponseValidationError", "no finite score for 1 of 4 documents"),
    (not_a_number, "APIResponseValidationError", "no finite score for 2 of 4 documents"),
]


@pytest.mark.parametrize(("prepare", "kind", "message"), FAULTS)
def test_unusable_folder_raises(
    prepare: Callable[[Path], None] | None, kind: str, message: str, tmp_path: Path, mode: Mode
) -> None:
    folder = tmp_path / "ce"
    if prepare:
        prepare(folder)
    with pytest.raises(RerankError, match=message) as caught:
        mode.rerank(mode.reranker(f"fastembed/{folder}"), QUERY, DOCUMENTS)
    error = caught.value
    assert type(error) is getattr(anyrerank, kind)
    assert (error.provider, error.model) == ("fastembed", str(folder))
    assert len(error.message) < 500
    assert not leaks(error, [QUERY, *DOCUMENTS])


@pytest.mark.parametrize("name", ["x" * 5000, "~nobody-of-this-name/ce", "a/b/c", "a\0b", "a b"])
def test_name_that_is_neither_folder_nor_id_raises_not_found(name: str, mode: Mode) -> None:
    with pytest.raises(anyrerank.NotFoundError, match=r"no folder|knows no reranker") as caught:
        mode.rerank(mode.reranker(f"fastembed/{name}"), QUERY, DOCUMENTS)
    assert len(caught.value.message) < 600


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nobody/nothing", r"fastembed knows no reranker nobody/nothing.*list_supported_models"),
        ("BAAI/bge-reranker-base", "BAAI/bge-reranker-base is neither a folder nor a model that could be downloaded"),
    ],
)
def test_unknown_id_raises_not_found(name: str, message: str, mode: Mode) -> None:
    with pytest.raises(anyrerank.NotFoundError, match=message) as caught:
        mode.rerank(mode.reranker(f"fastembed/{name}"), QUERY, DOCUMENTS)
    assert (caught.value.provider, caught.value.model) == ("fastembed", name)
    assert "\n" not in caught.value.message


def test_failed_load_is_tried_again_by_the_next_call(tmp_path: Path, mode: Mode) -> None:
    folder = tmp_path / "ce"
    folder.mkdir()
    reranker = mode.reranker(f"fastembed/{folder}")
    with pytest.raises(anyrerank.ConfigurationError):
        mode.rerank(reranker, QUERY, DOCUMENTS)
    make(folder)
    assert list(mode.rerank(reranker, QUERY, DOCUMENTS).results.indexes) == ORDER


def test_missing_library_names_the_extra(model: str, monkeypatch: pytest.MonkeyPatch, mode: Mode) -> None:
    monkeypatch.setitem(sys.modules, "fastembed.rerank.cross_encoder", None)
    with pytest.raises(anyrerank.ConfigurationError, match=r"pip install 'anyrerank\[fastembed\]'") as caught:
        mode.rerank(mode.reranker(model), QUERY, DOCUMENTS)
    assert (caught.value.provider, caught.value.model) == ("fastembed", model.partition("/")[2])


def test_half_a_character_is_replaced_for_the_model_only(
    model: str, predicting: Callable[[Predict], None], mode: Mode
) -> None:
    seen: list[str] = []

    def look(texts: Sequence[str], predict: Callable[[], list[float]]) -> list[float]:
        seen.extend(texts)
        return predict()

    predicting(look)
    response = mode.rerank(mode.reranker(model), "half a \ud83d query", ["half a \ud83d pair", "river"])
    assert sorted(seen) == ["half a \ufffd pair", "river"]
    assert {"text": "half a \ud83d pair"} in [result.document for result in response.results]


def test_failing_prediction_that_quotes_a_text_is_withheld(
    model: str, predicting: Callable[[Predict], None], mode: Mode
) -> None:
    def fail(texts: Sequence[str], predict: Callable[[], list[float]]) -> list[float]:
        raise RuntimeError(f"bad shape for {texts[0]}\nand much more")

    predicting(fail)
    with pytest.raises(InternalServerError, match=r"failed: RuntimeError: .*withheld") as caught:
        mode.rerank(mode.reranker(model, max_retries=2), QUERY, DOCUMENTS)
    assert not leaks(caught.value, [*DOCUMENTS, "much more"])


def test_out_of_memory_halves_the_batch(model: str, predicting: Callable[[Predict], None], mode: Mode) -> None:
    def small(texts: Sequence[str], predict: Callable[[], list[float]]) -> list[float]:
        if len(texts) > 2:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")
        return predict()

    predicting(small)
    response = mode.rerank(mode.reranker(model), QUERY, [*DOCUMENTS, "river"])
    assert list(response.results.indexes) == [*ORDER, 4]


def test_loading_is_logged_once(model: str, loads: list[Any], caplog: pytest.LogCaptureFixture, mode: Mode) -> None:
    rerankers = [mode.reranker(model), mode.reranker(model, top_n=1)]
    for each in rerankers:
        each.check()
    assert (loads, caplog.records) == ([], [])
    for each in (*rerankers, *rerankers):
        mode.rerank(each, QUERY, DOCUMENTS)
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("anyrerank", logging.WARNING)
    assert record.getMessage() == f"loading {model}"
    assert len(loads) == 1


def test_two_threads_load_the_model_once(
    model: str, monkeypatch: pytest.MonkeyPatch, loads: list[Any], sync_mode: Mode
) -> None:
    loading = cross_encoder.TextCrossEncoder.__init__
    both = threading.Barrier(2)
    outcomes: list[list[int]] = []

    def slow(self: Any, name: str, **options: Any) -> None:
        with suppress(threading.BrokenBarrierError):
            both.wait(0.2)
        loading(self, name, **options)

    monkeypatch.setattr(cross_encoder.TextCrossEncoder, "__init__", slow)

    def ask() -> None:
        outcomes.append(list(sync_mode.reranker(model).rerank(QUERY, DOCUMENTS).results.indexes))

    in_threads(2, ask)
    assert outcomes == [ORDER, ORDER]
    assert len(loads) == 1


def in_threads(count: int, work: Callable[[], object]) -> None:
    threads = [threading.Thread(target=work) for _ in range(count)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(30)
        assert not each.is_alive()


def test_predictions_do_not_overlap(model: str, predicting: Callable[[Predict], None], sync_mode: Mode) -> None:
    at_once, most = [0], [0]
    other = threading.Event()

    def around(texts: Sequence[str], predict: Callable[[], list[float]]) -> list[float]:
        at_once[0] += 1
        most[0] = max(most[0], at_once[0])
        if at_once[0] > 1:
            other.set()
        other.wait(0.02)
        scores = predict()
        at_once[0] -= 1
        return scores

    predicting(around)
    reranker = sync_mode.reranker(model)
    documents = DOCUMENTS * 33
    in_threads(3, lambda: reranker.rerank(QUERY, documents))
    assert most == [1]


def test_rerank_many_gives_every_query_its_scores(model: str, mode: Mode) -> None:
    reranker = mode.reranker(model)
    responses = mode.rerank_many(reranker, [QUERY, "river", "Lisbon"], [DOCUMENTS] * 3)
    assert [response.results[0].index for response in responses] == [2, 3, 0]


def test_timeout_is_checked_between_chunks(model: str, predicted: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: 1000.0 + 3.0 * len(predicted))
    with pytest.raises(APITimeoutError, match="timed out"):
        Reranker(model).rerank(QUERY, ["river"] * 300, timeout=5.0)
    assert predicted == [64, 64]


async def test_cancelled_call_stops_after_the_chunk(model: str, predicting: Callable[[Predict], None]) -> None:
    loop, begun, ended = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
    go_on = threading.Event()
    sizes: list[int] = []

    def around(texts: Sequence[str], predict: Callable[[], list[float]]) -> list[float]:
        sizes.append(len(texts))
        loop.call_soon_threadsafe(begun.set)
        assert go_on.wait(30)
        loop.call_soon_threadsafe(ended.set)
        return predict()

    predicting(around)
    task = asyncio.create_task(Reranker(model).arerank(QUERY, ["river"] * 300))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    go_on.set()
    await ended.wait()
    assert sizes == [64]


async def test_event_loop_is_not_blocked_by_a_prediction(model: str, predicting: Callable[[Predict], None]) -> None:
    loop, went_on = asyncio.get_running_loop(), threading.Event()

    def around(texts: Sequence[str], predict: Callable[[], list[float]]) -> list[float]:
        loop.call_soon_threadsafe(went_on.set)
        assert went_on.wait(5), "the event loop is blocked"
        return predict()

    predicting(around)
    response = await Reranker(model).arerank(QUERY, DOCUMENTS)
    assert list(response.results.indexes) == ORDER


def pickled(reranker: Reranker) -> Reranker:
    made: Reranker = pickle.loads(pickle.dumps(reranker))  # noqa: S301  # made on the line itself
    return made


@pytest.mark.parametrize("copied", [pickled, copy.deepcopy, copy.copy])
def test_copies_share_the_loaded_model(
    copied: Callable[[Reranker], Reranker], model: str, loads: list[Any], mode: Mode
) -> None:
    reranker = mode.reranker(model, threads=1)
    for each in (reranker, copied(reranker)):
        assert list(mode.rerank(each, QUERY, DOCUMENTS).results.indexes) == ORDER
    assert len(loads) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_forked_process_loads_its_own_model(model: str, loads: list[Any], mode: Mode) -> None:
    reranker = mode.reranker(model)
    mode.rerank(reranker, QUERY, DOCUMENTS)
    (slot,) = local_models.models.slots.values()

    def in_the_child() -> str:
        fresh = Mode(asynchronous=mode.asynchronous)
        return f"{list(fresh.rerank(reranker, QUERY, DOCUMENTS).results.indexes)} {len(loads)}"

    gc.collect()  # the child would hang if it freed models of earlier tests, whose threads it does not have
    with slot.lock:
        assert forked(in_the_child) == f"{ORDER} 2"
    mode.rerank(reranker, QUERY, DOCUMENTS)
    assert len(loads) == 1


def test_provider_is_made_without_importing_the_library() -> None:
    code = (
        "import sys, anyrerank\n"
        "reranker = anyrerank.Reranker('fastembed//no/such/folder', device='cpu')\n"
        "reranker.check()\n"
        "import anyrerank.providers.sentence_transformers\n"
        "print({'fastembed', 'onnxruntime', 'tokenizers', 'sentence_transformers', 'torch'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    assert done.stdout.strip() == "set()"
