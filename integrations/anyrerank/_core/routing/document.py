"""The document in a configuration file, with what it refers to: other files, its variables and its credentials."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from anyrerank._core.routing.entries import Located
from anyrerank._core.routing.yaml_file import read_yaml
from anyrerank._core.runtime import REFERENCE
from anyrerank.errors import ConfigurationError

_RESOLVED = ("credential_list", "environment_variables", "include")


def read_document(file: Path) -> Mapping[str, Any]:
    """The document, in which `include`, `environment_variables` and `credential_list` are resolved.

    Raises:
        ConfigurationError: A file cannot be read or is not a mapping with a `model_list`; or a credential is missing.
    """
    document = _with_included(file)
    models = document.get("model_list")
    if not isinstance(models, list) or not models:
        raise ConfigurationError(f"{file} must be a mapping with a model_list of at least one entry")
    variables = section(document, "environment_variables")
    rest = {name: _filled_in(value, variables) for name, value in document.items() if name not in _RESOLVED}
    credentials = _filled_in(_credentials(document), variables)
    return {**rest, "model_list": [_with_credential(each, credentials) for each in rest["model_list"]]}


def section(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A section of the document, empty if it is missing.

    Raises:
        ConfigurationError: It is not a mapping.
    """
    found = document.get(name) or {}
    if not isinstance(found, Mapping):
        raise ConfigurationError(f"{name} must be a mapping")
    return found


def _with_included(file: Path) -> dict[str, Any]:
    """A document and those that it includes: lists are joined, other sections are replaced, as in LiteLLM."""
    document = _mapping(file)
    names = document.get("include") or []
    if not isinstance(names, list):
        raise ConfigurationError(f"{file}: include must be a list of files")
    for name in names:
        for key, value in _mapping(file.parent / str(name)).items():
            joined = isinstance(value, list) and isinstance(document.get(key), list)
            document[key] = [*document[key], *value] if joined else value
    return document


def _mapping(file: Path) -> dict[str, Any]:
    document = read_yaml(file)
    if not isinstance(document, Mapping):
        raise ConfigurationError(f"{file} must be a mapping with a model_list of at least one entry")
    return dict(document)


def _filled_in(value: Any, variables: Mapping[str, Any]) -> Any:
    """`value` with the variables of the file in place of references to them."""
    if not variables:
        return value
    if isinstance(value, Mapping):
        content = {name: _filled_in(each, variables) for name, each in value.items()}
        return Located(value.where, content, value.places) if isinstance(value, Located) else content
    if isinstance(value, list):
        return [_filled_in(each, variables) for each in value]
    if isinstance(value, str) and value.startswith(REFERENCE):
        return variables.get(value.removeprefix(REFERENCE), value)
    return value


def _credentials(document: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The values of the credentials, by name."""
    found: dict[str, Mapping[str, Any]] = {}
    for each in given if isinstance(given := document.get("credential_list") or [], list) else [given]:
        values = each.get("credential_values") if isinstance(each, Mapping) else None
        if not isinstance(values, Mapping):
            raise ConfigurationError("credential_list must be a list of mappings with credential_values")
        found[str(each.get("credential_name"))] = values
    return found


def _with_credential(entry: Any, credentials: Mapping[str, Mapping[str, Any]]) -> Any:
    """An entry with the values of its credential in place of the name."""
    params = entry.get("litellm_params") if isinstance(entry, Located) else None
    if not isinstance(params, Mapping) or "litellm_credential_name" not in params:
        return entry
    own = {name: value for name, value in params.items() if name != "litellm_credential_name"}
    name = str(params["litellm_credential_name"])
    if name not in credentials:
        raise ConfigurationError(f"{entry.where}: credential_list has no {name[:60]}")
    return Located(entry.where, {**entry, "litellm_params": {**credentials[name], **own}})
