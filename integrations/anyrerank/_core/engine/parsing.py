"""Parsing options: aliases, overrides of a call, and the messages for invalid values."""

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from anyrerank._core.engine.options import NEVER_NONE, Must, Options
from anyrerank._core.runtime import did_you_mean
from anyrerank.errors import BadRequestError

OptionsT = TypeVar("OptionsT", bound=Options)

ALIASES: Mapping[str, str] = {"num_retries": "max_retries", "base_url": "api_base", "extra_headers": "headers"}
"""Names of options in LiteLLM and OpenAI, and ours."""


def without_aliases(given: Mapping[str, Any]) -> dict[str, Any]:
    """`given` with our names for options. `None` does not count for an alias, or for an option that cannot be `None`.

    Headers are merged; those of `headers` come before those of `extra_headers`.

    Raises:
        BadRequestError: Two names of one option have different values.
    """
    found = {
        name: value
        for name, value in given.items()
        if name not in ALIASES and (value is not None or name not in NEVER_NONE)
    }
    for alias, name in ALIASES.items():
        value = given.get(alias)
        if value is None:
            continue
        own = found.get(name)
        if name == "headers" and isinstance(value, Mapping) and isinstance(own, Mapping):
            value = {**value, **own}
        elif own is not None and own != value:
            raise two_values(name, alias)
        found[name] = value
    return found


def two_values(name: str, alias: str) -> BadRequestError:
    """The error for two names of one option that have different values."""
    return BadRequestError(
        f"{name} and {alias} are names of the same option, but their values differ: pass one of them"
    )


def parse_options(model: type[OptionsT], given: Mapping[str, Any]) -> OptionsT:
    """`model` with the values in `given`, which may use the names of LiteLLM; other names become `options`.

    Raises:
        BadRequestError: An option has an invalid value.
    """
    return validated(model, _sorted_in(model, given))


def merged(base: Options, overrides: Mapping[str, Any]) -> Options:
    """`base` with the `overrides` of a call; provider options are added to those of `base`.

    Raises:
        BadRequestError: An option has an invalid value.
    """
    if not overrides:
        return base
    given = _sorted_in(Options, overrides)
    checked = validated(Options, given)
    update = {name: getattr(checked, name) for name in given}
    if checked.options and base.options:
        update["options"] = {**base.options, **checked.options}
    return base.model_copy(update=update)


def _sorted_in(model: type[Options], given: Mapping[str, Any]) -> dict[str, Any]:
    """`given` by field; other names, unless their value is `None`, under `options`.

    Raises:
        BadRequestError: `options` holds a field, which would not be validated there.
    """
    plain = without_aliases(given)
    known = {name: value for name, value in plain.items() if name in model.model_fields}
    others = {name: value for name, value in plain.items() if name not in known and value is not None}
    options = known.get("options") or {}
    if not isinstance(options, Mapping):
        return known  # validation rejects it
    if fields := sorted(options.keys() & model.model_fields.keys()):
        raise BadRequestError(f"options must not hold {', '.join(fields)}: pass it by its own name")
    if others:
        known["options"] = {**options, **others}
    return known


def validated(model: type[OptionsT], given: Mapping[str, Any]) -> OptionsT:
    """`model` with the values in `given`.

    Raises:
        BadRequestError: An option has an invalid value.
    """
    try:
        return model(**given)
    except ValidationError as error:
        raise BadRequestError(problem(error, model, given)) from None


def problem(error: ValidationError, model: type[BaseModel], given: Mapping[str, Any]) -> str:
    """The message for the first option that pydantic rejected."""
    faults = error.errors(include_url=False)
    first = next((each for each in faults if each["type"] == "extra_forbidden"), faults[0])  # a typo explains others
    name = str(first["loc"][0]) if first["loc"] else ""
    if first["type"] == "extra_forbidden":
        return unknown_option(name, model, model.model_fields)
    field = model.model_fields.get(name)
    must = next((each.be for each in field.metadata if isinstance(each, Must)), None) if field else None
    if field and must:
        got = _shown_of(given.get(name), is_choice=first["type"] == "literal_error", is_secret=not field.repr)
        return f"{name} must be {must}, got {got}"
    reason = str(first.get("ctx", {}).get("error") or first["msg"])
    return f"{name}: {reason}" if name else reason


def unknown_option(name: str, model: type[BaseModel], known: Iterable[str]) -> str:
    """The message for an option that `model` does not have."""
    return f"{model.__name__} has no option {name[:80]}{did_you_mean(name, known)}"


def shown(value: object) -> str:
    """A value for an error message: numbers as they are, otherwise the type, as the value may be secret."""
    return repr(value) if value is None or isinstance(value, bool | int | float) else _type_of(value)


def _shown_of(value: object, *, is_choice: bool, is_secret: bool) -> str:
    """The value of an option for an error message; of the strings, only a short one for a choice is shown."""
    if is_choice and isinstance(value, str) and len(value) <= _LONGEST_CHOICE:
        return repr(value)
    return _type_of(value) if is_secret and value is not None else shown(value)


def _type_of(value: object) -> str:
    return f"a value of type {type(value).__name__}"


_LONGEST_CHOICE = 40
"""A longer string may be something else than a misspelt choice, such as a document."""
