"""The settings of a gateway in its file: wrong names are refused, and say what is meant."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from anyrerank.errors import ConfigurationError
from anyrerank.gateway.configuration import GatewayConfig, config_of_file

LOCAL = {"model_name": "good", "litellm_params": {"model": "local/lexical"}}


def read(folder: Path, **sections: Any) -> GatewayConfig:
    path = folder / "config.yaml"
    path.write_text(json.dumps({"model_list": [LOCAL], **sections}), encoding="utf-8")
    return config_of_file(path)


@pytest.mark.parametrize(
    ("section", "name", "message"),
    [
        ("general_settings", "databse_url", "general_settings has no setting databse_url; did you mean database_url?"),
        ("general_settings", "masterkey", "general_settings has no setting masterkey; did you mean master_key?"),
        ("general_settings", "max_body_mb", "general_settings: max_body_mb belongs in anyrerank_settings"),
        ("anyrerank_settings", "acces_log", "anyrerank_settings has no setting acces_log; did you mean access_log?"),
        ("anyrerank_settings", "nonsense", "anyrerank_settings has no setting nonsense"),
    ],
)
def test_wrong_name_is_refused_with_the_right_one(section: str, name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read(tmp_path, **{section: {name: 1}})
    assert caught.value.message == f"{tmp_path / 'config.yaml'}: {message}"


def test_wrong_name_is_refused_although_its_variable_is_not_set(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="did you mean database_url"):
        read(tmp_path, general_settings={"databse_url": "os.environ/NOT_SET"})


def test_other_settings_of_litellms_are_ignored(tmp_path: Path) -> None:
    names = [
        "alert_types",
        "alerting",
        "background_health_checks",
        "completion_model",
        "custom_sso",
        "database_connection_pool_limit",
        "database_connection_timeout",
        "database_type",
        "disable_spend_logs",
        "forward_client_headers_to_llm_api",
        "health_check_interval",
        "infer_model_from_keys",
        "max_response_size_mb",
        "store_model_in_db",
        "ui_access_mode",
    ]
    config = read(tmp_path, general_settings=dict.fromkeys(names, 1))
    assert config.ignored == tuple(f"general_settings.{name}" for name in names)
