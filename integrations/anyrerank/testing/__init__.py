"""Test code that reranks: no key, no network, the same scores every time.

- `fake_provider` makes a provider that answers inside the process. Use it wherever a provider can be given: `Reranker`,
  `Router`, the framework adapters.
- `StubServer` is an HTTP server on 127.0.0.1. Use it when the request itself matters, or for failures of a network.
- `forbid_network` turns every request that would leave the process into an error.

Nothing here needs pytest. To forbid the network in all of your tests, put this in `conftest.py`:

    from collections.abc import Iterator

    import pytest

    from anyrerank.testing import forbid_network


    @pytest.fixture(autouse=True)
    def no_network() -> Iterator[None]:
        with forbid_network(allow_loopback=True):
            yield
"""

from anyrerank._core.http import NetworkForbiddenError, forbid_network
from anyrerank.testing.exchange import Exchange, StubRequest
from anyrerank.testing.fake import FakeCall, FakeProvider, fake_provider
from anyrerank.testing.server import StubServer

__all__ = [
    "Exchange",
    "FakeCall",
    "FakeProvider",
    "NetworkForbiddenError",
    "StubRequest",
    "StubServer",
    "fake_provider",
    "forbid_network",
]
