"""The servers of the slow tests; each is started once."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.servers.processes import free_port, interpreter, running
from tests.servers.truth import Truth, compute
from tests.support.loopback import Line, Loopback, ranking


@dataclass(frozen=True)
class Server:
    """The address of a server and its key."""

    url: str
    key: str


@pytest.fixture(scope="session")
def environment(request: pytest.FixtureRequest) -> Callable[[str], str]:
    """Returns the Python of an environment, which is created if it does not exist."""
    plugins = request.config.pluginmanager
    reporter, capture = plugins.getplugin("terminalreporter"), plugins.getplugin("capturemanager")

    def report(line: str) -> None:
        with capture.global_and_fixture_disabled():
            reporter.write_line(line)

    return lambda name: interpreter(name, report)


@pytest.fixture(scope="session")
def truth(environment: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Truth:
    """The scores that the model itself computes."""
    return compute(environment("infinity"), tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def infinity(
    environment: Callable[[str], str], truth: Truth, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """An Infinity server with the model, which it calls `tiny`."""
    port, key = free_port(), "key-of-the-infinity-server"
    url = f"http://127.0.0.1:{port}"
    options = {
        "--model-id": str(truth.folder),
        "--served-model-name": "tiny",
        "--engine": "torch",
        "--device": "cpu",
        "--dtype": "float32",
        "--api-key": key,
        "--host": "127.0.0.1",
        "--port": str(port),
    }
    program = str(Path(environment("infinity")).with_name("infinity_emb"))
    flags = ["--no-bettertransformer", "--no-model-warmup"]
    command = [program, "v2", *(word for option in options.items() for word in option), *flags]
    with running(command, ready=f"{url}/health", folder=tmp_path_factory.mktemp("infinity")):
        yield Server(url, key)


@pytest.fixture(scope="session")
def _behind() -> Iterator[Loopback]:
    server = Loopback(ranks)
    yield server
    server.close()


@pytest.fixture
def behind(_behind: Loopback) -> Iterator[Loopback]:
    """A stub server behind the proxy, which records what the proxy sends; it answers like Cohere."""
    _behind.hits.clear()
    yield _behind
    _behind.script = ranks


def ranks(line: Line) -> None:
    line.answer(body=ranking(line.hit.documents, line.hit.json.get("top_n")), headers={"connection": "close"})
    line.hang_up()


@pytest.fixture(scope="session")
def proxy(
    environment: Callable[[str], str], infinity: Server, _behind: Loopback, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """LiteLLM's proxy in front of Infinity (`our-reranker`) and, as other providers, in front of `behind`."""
    port, key = free_port(), "sk-master-key-of-the-tests"
    url, folder = f"http://127.0.0.1:{port}", tmp_path_factory.mktemp("litellm")
    models = {
        "our-reranker": ("infinity/tiny", infinity),
        "locked-out": ("infinity/tiny", Server(infinity.url, "another key")),
        "like-cohere": ("cohere/rerank-v3.5", Server(_behind.url, "key-behind-the-proxy")),
        "like-nvidia": ("nvidia_nim/nvidia/rerank-qa", Server(_behind.url, "key-behind-the-proxy")),
        "like-deepinfra": ("deepinfra/reranker", Server(_behind.url, "key-behind-the-proxy")),
    }
    config = {
        "model_list": [
            {"model_name": name, "litellm_params": {"model": model, "api_base": at.url, "api_key": at.key}}
            for name, (model, at) in models.items()
        ],
        "general_settings": {"master_key": key},
        "router_settings": {"num_retries": 0, "disable_cooldowns": True},
    }
    (folder / "config.yaml").write_text(json.dumps(config))  # JSON is YAML
    program = str(Path(environment("litellm")).with_name("litellm"))
    command = [program, "--config", str(folder / "config.yaml"), "--host", "127.0.0.1", "--port", str(port)]
    with running(command, ready=f"{url}/health/liveliness", folder=folder):
        yield Server(url, key)
