"""The arguments of a `Router` from a configuration file of LiteLLM's."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from anyrerank._core.routing import ConfigFile, located, none_found, read_config, warning_of
from anyrerank.state import RedisState

_log = logging.getLogger("anyrerank")


def arguments_of_file(path: str | PathLike[str], arguments: Mapping[str, Any]) -> tuple[dict[str, Any], Path]:
    """The arguments of a router that a file describes, and the file. Logs what is left out.

    Args:
        path: A YAML file.
        arguments: Replace those in the file.

    Raises:
        ConfigurationError: As for `Router.from_config`.
    """
    config = read_config(path)
    _warn(config)
    given = {**config.router, **arguments}
    if not given["model_list"]:
        raise located(none_found(config.left_out), config.file)
    if config.redis_url is not None and "state" not in given:
        given["state"] = RedisState(config.redis_url)
    return given, config.file


def _warn(config: ConfigFile) -> None:
    """Log the settings of a file that a router does not support."""
    if config.left_out:
        _log.warning("%s: %s", config.file, warning_of(config.left_out))
    if config.ignored:
        _log.warning("%s: ignored settings: %s", config.file, ", ".join(config.ignored))
    if unused := [each.name for each in config.guardrails if not each.default_on]:
        _log.warning("%s: a router applies no guardrail without default_on: %s", config.file, ", ".join(unused))
    if unenforced := sorted(
        {*config.general, *(name.partition(".")[2] for name in config.unset if name.startswith("general_settings"))}
    ):
        _log.warning("%s: a router enforces nothing of general_settings: %s", config.file, ", ".join(unenforced))
