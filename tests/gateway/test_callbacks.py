"""`callbacks` of LiteLLM's file: OpenTelemetry and Prometheus."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.support.gateway import entry
from tests.support.processes import python

from anyrerank.gateway.configuration import GatewayConfig, config_of_file, service_of
from anyrerank.telemetry import OpenTelemetry


def written(folder: Path, **litellm: Any) -> Path:
    file = folder / "config.yaml"
    file.write_text(json.dumps({"model_list": [entry("rerank")], "litellm_settings": litellm}))
    return file


def config(folder: Path, **litellm: Any) -> GatewayConfig:
    return config_of_file(written(folder, **litellm))


@pytest.mark.parametrize("setting", ["callbacks", "success_callback", "failure_callback"])
@pytest.mark.parametrize("given", ["otel", ["otel"], ["prometheus", "otel"]], ids=str)
def test_otel_is_the_hook_of_the_router(tmp_path: Path, setting: str, given: Any) -> None:
    read = config(tmp_path, **{setting: given})
    (hook,) = service_of(read).router.options.hooks
    assert isinstance(hook, OpenTelemetry)
    assert read.ignored == ()
    assert config(tmp_path, callbacks=["otel"]).router["hooks"] == (hook,)  # a reload defines no metric again


SERVED = """
import sys
import httpx
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from tests.support.gateway import running
from anyrerank.gateway import Gateway
from anyrerank.gateway.configuration import config_of_file, lost_telemetry, service_of

config = config_of_file(sys.argv[1])
print(lost_telemetry(config.router["hooks"]))
spans, provider = InMemorySpanExporter(), TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(spans))
trace.set_tracer_provider(provider)
print(lost_telemetry(config.router["hooks"]))
with running(Gateway(service_of(config))) as url:
    httpx.post(f"{url}/rerank", json={"query": "red planet", "documents": ["Mars is the red planet"]})
print(sorted(span.name for span in spans.get_finished_spans()))
"""


def test_otel_records_each_request_if_an_sdk_is_set_up(tmp_path: Path) -> None:
    written(tmp_path, callbacks=["otel"])
    without, with_sdk, names = python(SERVED, str(tmp_path / "config.yaml")).splitlines()
    assert "start it with opentelemetry-instrument" in without
    assert with_sdk == "None"
    assert names == "['POST /rerank', 'attempt local/lexical', 'rerank lexical']"


NOT_INSTALLED = """
import sys
sys.modules["opentelemetry"] = None
from anyrerank import MissingExtraError
from anyrerank.gateway.configuration import config_of_file
try:
    config_of_file(sys.argv[1])
except MissingExtraError as error:
    print(error)
"""


def test_otel_that_is_not_installed_is_an_error_at_the_start(tmp_path: Path) -> None:
    file = written(tmp_path, callbacks=["otel"])
    message = python(NOT_INSTALLED, str(file))
    assert message.startswith(f"{file}: OpenTelemetry is not installed: pip install 'anyrerank[otel]'")


@pytest.mark.parametrize(
    ("given", "ignored"),
    [
        ({"callbacks": ["prometheus"]}, ()),
        ({"callbacks": "prometheus", "success_callback": ["prometheus"]}, ()),
        ({"callbacks": ["langfuse"]}, ("litellm_settings.callbacks",)),
        ({"success_callback": ["prometheus", "langfuse"]}, ("litellm_settings.success_callback (langfuse)",)),
        ({"callbacks": []}, ("litellm_settings.callbacks",)),
        ({"service_callback": ["prometheus"]}, ("litellm_settings.service_callback",)),
    ],
    ids=str,
)
def test_callbacks_without_effect_are_named(tmp_path: Path, given: dict[str, Any], ignored: tuple[str, ...]) -> None:
    read = config(tmp_path, **given)
    assert read.ignored == ignored
    assert "hooks" not in read.router
