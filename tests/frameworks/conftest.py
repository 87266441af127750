"""Fixtures of the framework tests: each framework in each mode, and a provider that answers from memory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from llama_index.core.instrumentation.span_handlers import SimpleSpanHandler
from llama_index_instrumentation import get_dispatcher
from tests.frameworks.listeners import Events
from tests.support.frameworks import FACES, KINDS, Face, Wire


@pytest.fixture(params=FACES, ids=str)
def face(request: pytest.FixtureRequest) -> Face:
    """Both frameworks, in sync and async."""
    found: Face = request.param
    return found


@pytest.fixture(params=KINDS, ids=lambda face: face.framework)
def framework(request: pytest.FixtureRequest) -> Face:
    """Both frameworks, for tests that need no mode."""
    found: Face = request.param
    return found


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def events() -> Iterator[Events]:
    handler, root = Events(), get_dispatcher()
    root.add_event_handler(handler)
    yield handler
    root.event_handlers.remove(handler)


@pytest.fixture
def spans() -> Iterator[SimpleSpanHandler]:
    handler, root = SimpleSpanHandler(), get_dispatcher()
    root.add_span_handler(handler)
    yield handler
    root.span_handlers.remove(handler)
