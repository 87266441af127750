"""Documents in a file: one a line, as text or as JSON."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.cli.running import RERANK, error_of, run

from anyrerank._core.types import Document
from anyrerank.cli.documents import parse_documents, read_documents
from anyrerank.errors import BadRequestError

ARRAY = [{"text": "one", "content": "one", "id": 1}, {"text": "two", "page_content": "two"}]


@pytest.mark.parametrize(
    ("content", "documents"),
    [
        (b"", []),
        (b"\n \n", []),
        (b"one\ntwo", ["one", "two"]),
        (b"one\r\ntwo\r\n", ["one", "two"]),
        (b"one\n\nthree\n\n\n", ["one", "", "three"]),  # an index is the number of a line
        ("\ufeffone".encode(), ["one"]),
        ("a\u2028b\x0cc".encode(), ["a\u2028b\x0cc"]),
        (b'{"text": "one"}\n\n{"text": "three"}', [{"text": "one"}, "", {"text": "three"}]),
        (b'\n{"text": "two"}', ["", {"text": "two"}]),
        (b"{not json}\n[1]", ["{not json}", "[1]"]),
        (b'[1]\n{"text": "two"}', ["[1]", '{"text": "two"}']),
        (b'["one", {"text": "two"}]', ["one", {"text": "two"}]),
        (b'\xef\xbb\xbf[\n  {"content": "one", "id": 1},\n  {"page_content": "two"}\n]\n', ARRAY),
        (b'{"content": "one", "id": 1}\n{"page_content": "two"}', ARRAY),
        (b'{"text": "one"}\n{"text": null}', [{"text": "one"}, {"text": ""}]),
        (b"[1, 2]", ["[1, 2]"]),
        (b"[note] a line of text", ["[note] a line of text"]),
    ],
)
def test_parse_documents_reads_texts_or_json_objects(content: bytes, documents: list[object]) -> None:
    assert parse_documents(content) == documents


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"text": "one"}\ntwo', "line 2 must be a JSON object"),
        (b'{"title": "one"}', "line 1 must be a JSON object with a string 'text', its fields: title"),
        (b'["one", {"title": "two"}]', "element 1 must be a JSON object with a string 'text', its fields: title"),
        (b'[\n{"text": "one"},\n{"text": "two"', "line 3: the JSON array of documents is malformed"),
        (b'{"text": 1}', "line 1 must be a JSON object"),
        (b"caf\xe9", "UTF-8; byte 3"),
        (b"[" * 200_000, "line 1 is nested too deeply"),
        (b'\n{"text": "one"}\n{"text": "two", "more": ' + b"[" * 200_000, "line 3 is nested too deeply"),
    ],
)
def test_parse_documents_with_malformed_content_raises(content: bytes, message: str) -> None:
    with pytest.raises(BadRequestError, match=message):
        parse_documents(content)
    assert message in error_of(run(*RERANK, stdin=content))


@pytest.mark.parametrize(
    ("content", "documents"),
    [
        ('"red"\n"blue"', ["red", "blue"]),
        ('{"documents": ["red",\n {"text": "blue"}]}', ["red", {"text": "blue"}]),
        ('{\n"text": "red"\n}', [{"text": "red"}]),
        ('{"text": "red"}\n\n"blue"', [{"text": "red"}, "", "blue"]),
        ('"red"', ["red"]),
    ],
)
def test_json_file_of_another_form_is_read(content: str, documents: list[Document]) -> None:
    assert parse_documents(content.encode(), is_json=True) == documents


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"text": "red"', "line 1 must be a JSON object"),
        ('{"text": "red"}{"text": "blue"}', "line 1 must be a JSON object"),
        ('{"text": "red"}\nblue', "line 2 must be a JSON object"),
        ('[["red"]]', "must be an array of documents"),
        ('{"documents": 3}', "must be an array of documents"),
        ("1\n2", "line 1 must be a JSON object"),
        ("null", "must be an array of documents"),
        ('{"text": "red"}\n{"text": "blue", "more": ' + "[" * 200_000, "line 2 is nested too deeply"),
    ],
)
def test_json_file_that_is_no_list_of_documents_is_refused(content: str, message: str) -> None:
    with pytest.raises(BadRequestError, match=message):
        parse_documents(content.encode(), is_json=True)


@pytest.mark.parametrize("name", ["broken.json", "broken.JSONL", "broken.ndjson"])
def test_file_is_json_by_its_name(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text('{"text": "red"', encoding="utf-8")
    with pytest.raises(BadRequestError, match="line 1 must be a JSON object"):
        read_documents(tmp_path / name)
    (tmp_path / "broken.txt").write_text('{"text": "red"', encoding="utf-8")
    assert read_documents(tmp_path / "broken.txt") == ['{"text": "red"']
