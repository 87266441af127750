"""Documents in a file: one a line, as text or as JSON."""

from __future__ import annotations

import pytest
from tests.unit.cli.running import RERANK, error_of, run

from anyrerank.cli.documents import parse_documents
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
