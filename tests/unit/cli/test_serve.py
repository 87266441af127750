"""`anyrerank serve`: what it says before it serves, and after."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from tests.unit.cli.running import error_of, run

from anyrerank.gateway.server import Server


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("XDG_STATE_HOME", "LOCALAPPDATA", "HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setattr(Server, "run", lambda _, sockets: [each.close() for each in sockets])


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("coheer/x", "unknown provider 'coheer': did you mean cohere?"),
        ("best", "--model best names no provider: write best=provider/model"),
        ("best=x", "--model best=x names no provider: write best=provider/model"),
    ],
)
def test_wrong_model_is_one_line_that_says_what_to_write(model: str, message: str) -> None:
    shown = error_of(run("serve", "--model", model))
    assert message in shown
    assert "model_list" not in shown


def test_model_that_cannot_be_called_is_named_with_the_reason() -> None:
    models = ("--model", "best=cohere/rerank-v3.5", "--model", "local/lexical", "--model", "rerank-2.5")
    result = run("serve", "--port", "0", *models)
    assert result.exit_code == 0, result.output
    first, second = result.stderr.splitlines()
    assert first.startswith("warning: best (cohere/rerank-v3.5) cannot be called: no API key for Cohere")
    assert second.startswith("warning: rerank-2.5 (voyage/rerank-2.5) cannot be called: no API key for Voyage")
    assert result.stdout == "stopped\n"


def test_telemetry_that_goes_nowhere_is_pointed_out(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    models = [{"model_name": "m", "litellm_params": {"model": "local/lexical"}}]
    file.write_text(json.dumps({"model_list": models, "litellm_settings": {"callbacks": ["otel"]}}), encoding="utf-8")
    result = run("serve", "--port", "0", "--config", str(file))
    assert result.exit_code == 0, result.output
    assert result.stderr.startswith("warning: callbacks: otel: no OpenTelemetry SDK is set up in this process")


@pytest.mark.process
@pytest.mark.parametrize("command", ["serve", "check"])
def test_missing_library_of_a_callback_is_named_with_the_extra_of_the_gateway(tmp_path: Path, command: str) -> None:
    file = tmp_path / "config.yaml"
    models = [{"model_name": "m", "litellm_params": {"model": "local/lexical"}}]
    file.write_text(json.dumps({"model_list": models, "litellm_settings": {"callbacks": ["otel"]}}), encoding="utf-8")
    code = "import sys; sys.modules['opentelemetry'] = None; from anyrerank.__main__ import main; main()"
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code, command, "--config", str(file)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith("pip install 'anyrerank[gateway,otel]'\n")


def test_logs_in_json_are_the_access_log_and_not_ignored(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    models = [{"model_name": "m", "litellm_params": {"model": "local/lexical"}}]
    file.write_text(json.dumps({"model_list": models, "litellm_settings": {"json_logs": True}}), encoding="utf-8")
    assert "ignored" not in run("serve", "--port", "0", "--config", str(file)).output
    checked = run("check", "--config", str(file)).output
    assert "access log: a line of JSON for each request" in checked
    assert "ignored" not in checked


@pytest.mark.parametrize(
    ("key", "host", "is_warned"),
    [
        ("sk-1234", "0.0.0.0", True),  # noqa: S104
        ("sk-1234", "127.0.0.1", False),
        ("sk-master-4Fq8Zr1uXw", "0.0.0.0", False),  # noqa: S104
    ],
)
def test_short_master_key_is_warned_of_where_others_may_guess_it(
    key: str, host: str, *, is_warned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LITELLM_MASTER_KEY", key)
    result = run("serve", "--host", host, "--port", "0", "--model", "local/lexical")
    assert result.exit_code == 0, result.output
    assert ("may be guessed" in result.stderr) == is_warned
    assert key not in result.output


def test_model_without_a_price_under_a_budget_is_warned_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COHERE_API_KEY", "a-key")
    file = tmp_path / "config.yaml"
    file.write_text(
        "model_list: [{model_name: new, litellm_params: {model: cohere/new}, model_info: {mode: rerank}}]\n"
        "litellm_settings: {max_end_user_budget: 1}\n"
    )
    result = run("serve", "--config", str(file), "--port", "0")
    assert "warning: new (cohere/new) has no known price, and there is max_end_user_budget" in result.stderr


def test_port_in_use_is_named_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        shown = error_of(run("serve", "--port", str(port)))
    assert shown == (
        f"error: cannot listen on 127.0.0.1:{port}: another program listens there; choose another --port\n"
    )


def test_host_that_does_not_exist_is_not_about_the_master_key() -> None:
    shown = error_of(run("serve", "--host", "nosuchhost.invalid"))
    assert shown.startswith("error: the host nosuchhost.invalid cannot be resolved: ")
