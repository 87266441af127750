"""Files in BEIR's and TREC's formats. Errors name the file and the line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from anyrerank import BadRequestError
from anyrerank.evaluation import Report, from_beir, read_labels, read_run
from anyrerank.evaluation.references import references

CORPUS = [{"_id": "d1", "title": "Mars", "text": "is red"}, {"_id": "d2", "title": "", "text": "Venus is hot"}]
QUERIES = [{"_id": "q1", "text": "red?"}, {"_id": "q2", "text": "hot?"}, {"_id": "q9", "text": "unlabelled"}]
QRELS = "query-id\tcorpus-id\tscore\nq1\td1\t2\nq2\td2\t1\nq2\td1\t0\n"
CANDIDATES = {"q1": ["d2", "d1"], "q2": ["d1", "d2"]}


def beir_folder(folder: Path, **files: str) -> Path:
    """A folder in BEIR's format; `files` replace its files, with `__` for `/` and `_` for `.` in their names."""
    content = {
        "corpus.jsonl": "".join(json.dumps(row) + "\n" for row in CORPUS),
        "queries.jsonl": "".join(json.dumps(row) + "\n\n" for row in QUERIES),
        "qrels/test.tsv": QRELS,
        **{name.replace("__", "/").replace("_", "."): text for name, text in files.items()},
    }
    folder.joinpath("qrels").mkdir()
    for name, text in content.items():
        folder.joinpath(name).write_text(text, encoding="utf-8")
    return folder


def test_from_beir_reads_titles_texts_and_labelled_queries(tmp_path: Path) -> None:
    data = from_beir(beir_folder(tmp_path), name="planets")
    assert data.name == "planets"
    assert data.queries == {"q1": "red?", "q2": "hot?"}
    assert data.documents == {"d1": "Mars\nis red", "d2": "Venus is hot"}
    assert data.labels == {"q1": {"d1": 2}, "q2": {"d2": 1, "d1": 0}}
    assert data.candidates == {}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"corpus_jsonl": "{"}, "corpus.jsonl, line 1: expected a JSON object"),
        ({"corpus_jsonl": '{"_id": "d1", "text": "a"}\n{"_id": 2.5, "text": "b"}'}, "corpus.jsonl, line 2"),
        ({"corpus_jsonl": "[" * 200_000}, "corpus.jsonl, line 1: expected a JSON object"),
        ({"qrels__test_tsv": f"q1\td1\t{'1' * 5000}"}, "line 1: a grade must be a whole number of at most 9 digits"),
        (
            {"corpus_jsonl": '{"_id": "d1", "text": "a"}\n\n{"_id": "d1", "text": "b"}'},
            "line 3: the id d1",
        ),
        ({"queries_jsonl": '{"_id": "q", "text": "a"}\n{"_id": "q", "text": "b"}'}, "queries.jsonl, line 2: the id q"),
        ({"qrels__test_tsv": "q1\td1\t0.5"}, "line 1: a grade must be a whole number"),
        ({"qrels__test_tsv": "query-id\tcorpus-id\tscore\nq1\td1\tgood"}, "test.tsv, line 2: a grade must be"),
        ({"qrels__test_tsv": "q1\td1\t1\n\nq1\td1\t2"}, "test.tsv, line 3: document d1 has grade 2 for query q1"),
        ({"qrels__test_tsv": "q1\td1\t1\nq1\t1"}, "line 2: expected a query, a document and a grade"),
        ({"qrels__test_tsv": "q7\td1\t1"}, "no label refers to a known query and document"),
    ],
    ids=str,
)
def test_from_beir_with_a_malformed_file_raises(tmp_path: Path, files: dict[str, str], message: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        from_beir(beir_folder(tmp_path, **files))
    assert message in caught.value.message


def test_from_beir_with_small_faults_reads_the_rest_and_warns_once(tmp_path: Path) -> None:
    corpus = '{"_id": 1, "text": "a"}\n{"_id": "2", "text": "b"}\n{"_id": 1, "text": "a"}\n'
    qrels = "q1\t1\t1.0\nq1\t1\t1\nq1\t9\t1\nq2\t2\t0\nq7\t2\t1\n"
    with pytest.warns(UserWarning, match="skipped") as warned:
        data = from_beir(beir_folder(tmp_path, corpus_jsonl=corpus, qrels__test_tsv=qrels))
    assert data.documents == {"1": "a", "2": "b"}
    assert data.labels == {"q1": {"1": 1}, "q2": {"2": 0}}
    assert data.queries.keys() == {"q1", "q2"}
    (warning,) = warned
    for part in (
        "1 repeated labels",
        "1 repeated rows of corpus.jsonl",
        "1 labels of documents",
        "9 of query q1",
        "q7",
    ):
        assert part in str(warning.message)


def test_from_beir_reads_rows_without_a_text_and_other_names_of_the_id(tmp_path: Path) -> None:
    corpus = '{"id": "d1", "text": "Mars"}\n{"_id": "d2", "text": null}\n{"_id": "d3", "title": "Venus"}\n'
    queries = '{"id": "q1", "text": "red?"}\n{"_id": "q2", "text": null}\n'
    with pytest.warns(UserWarning, match="1 queries without a text"):
        data = from_beir(beir_folder(tmp_path, corpus_jsonl=corpus, queries_jsonl=queries))
    assert data.queries == {"q1": "red?"}
    assert data.documents == {"d1": "Mars", "d2": "", "d3": "Venus\n"}


@pytest.mark.parametrize("heading", ["query Q0 doc rank score tag", "qid\titer\tdocno\trank\tsim\trun_id"])
def test_read_run_skips_a_heading(tmp_path: Path, heading: str) -> None:
    path = tmp_path / "bm25.run"
    path.write_text(f"{heading}\nq1 Q0 d2 2 0.5 bm25\nq1 Q0 d1 1 0.9 bm25\n")
    assert read_run(path) == {"q1": ["d1", "d2"]}


@pytest.mark.parametrize(
    "text",
    [
        "q1\td1\t1\n",
        "qid\tdocid\trelevance\nq1\td1\t1\n",
        "Query-ID Corpus-ID Score\nq1\td1\t1.0\n",
        "corpus-id\tquery-id\tscore\nd1\tq1\t1\n",
        "topic iteration document judgement\nq1 0 d1 1\n",
        "query-id\tcorpus-id\tscore\nq1 0 d1 +1\n",
        "\n\r\nq1 Q0 d1 01\r\n",
        "\ufeffq1\td1\t1\n",
        "\ufeffqrel query\tqrel doc\tgrade\nq1\td1\t1\n",
    ],
    ids=repr,
)
def test_read_labels_reads_headings_grades_and_byte_order_marks(tmp_path: Path, text: str) -> None:
    path = tmp_path / "labels.tsv"
    path.write_bytes(text.encode())
    assert read_labels(path) == {"q1": {"d1": 1}}


def test_read_labels_with_an_unknown_heading_warns(tmp_path: Path) -> None:
    path = tmp_path / "labels.tsv"
    path.write_text("a\tb\tc\nq1\td1\t1\n")
    with pytest.warns(UserWarning, match="look like a heading"):
        assert read_labels(path) == {"q1": {"d1": 1}}


def test_read_run_with_a_document_twice_and_a_byte_order_mark_keeps_the_best(tmp_path: Path) -> None:
    path = tmp_path / "a.run"
    path.write_text("q1 Q0 d1 1 9 x\nq1 Q0 d2 2 8 x\nq1 Q0 d1 3 7 x\n", encoding="utf-8-sig")
    with pytest.warns(UserWarning, match="1 candidates found twice"):
        assert read_run(path) == {"q1": ["d1", "d2"]}


def test_from_beir_with_another_encoding_raises(tmp_path: Path) -> None:
    beir_folder(tmp_path)
    tmp_path.joinpath("corpus.jsonl").write_text('{"_id": "d1", "text": "a"}', encoding="utf-16")
    with pytest.raises(BadRequestError, match=r"corpus.jsonl must be UTF-8"):
        from_beir(tmp_path)


def test_from_beir_without_files_raises(tmp_path: Path) -> None:
    with pytest.raises(BadRequestError, match=r"test.tsv cannot be read: FileNotFoundError"):
        from_beir(tmp_path)


def test_from_beir_with_unicode_line_separators_splits_at_line_feeds_only(tmp_path: Path) -> None:
    row = json.dumps({"_id": "d1", "text": "one\u2028two\u0085three"}, ensure_ascii=False)
    data = from_beir(beir_folder(tmp_path, corpus_jsonl=f'{row}\n{{"_id": "d2", "text": "b"}}\n'))
    assert data.documents["d1"] == "one\u2028two\u0085three"


def test_to_trec_writes_runs_and_labels_that_can_be_read_again(tmp_path: Path) -> None:
    data = replace(from_beir(beir_folder(tmp_path)), candidates=CANDIDATES)
    paths = Report.from_outcomes(data, references(data), k=2).to_trec(tmp_path / "out")
    assert [path.name for path in paths] == ["first_stage.run", "random.run", "oracle.run", "labels.qrels"]
    assert paths[0].read_text().splitlines()[0] == "q1 Q0 d2 1 2 first_stage"
    assert read_run(paths[0]) == data.candidates
    assert read_run(paths[2]) == {"q1": ["d1", "d2"], "q2": ["d2", "d1"]}
    assert read_labels(paths[-1]) == data.labels


def test_to_trec_with_names_that_share_a_file_raises(tmp_path: Path) -> None:
    data = replace(from_beir(beir_folder(tmp_path)), candidates=CANDIDATES)
    outcomes = references(data)
    report = Report.from_outcomes(data, {**outcomes, "a/b": outcomes["oracle"], "a_b": outcomes["random"]}, k=2)
    with pytest.raises(BadRequestError, match="the same file"):
        report.to_trec(tmp_path / "out")


@pytest.mark.parametrize("line", ["q1 Q0 d1", "q1 Q0 d1 first 2 x", "q1 Q0 d1 1 high x", "q1 Q0 d1 1 nan x"])
def test_read_run_with_a_malformed_line_raises(tmp_path: Path, line: str) -> None:
    path = tmp_path / "a.run"
    path.write_text(f"q1 Q0 d2 1 9 x\n{line}\n")
    with pytest.raises(BadRequestError, match=r"a.run, line 2: "):
        read_run(path)
