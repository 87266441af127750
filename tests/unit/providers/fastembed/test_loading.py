"""Which model is loaded, and how."""

import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.harness import Mode, leaks

import anyrerank
from anyrerank import RerankError

pytest.importorskip("onnx")
cross_encoder: Any = pytest.importorskip("fastembed.rerank.cross_encoder")
from tests.unit.providers.fastembed.models import DOCUMENTS, ORDER, QUERY  # noqa: E402
from tests.unit.providers.overlap_onnx import make  # noqa: E402


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
