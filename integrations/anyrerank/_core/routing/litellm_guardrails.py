"""`guardrails` of a configuration file: what may change or refuse the query of a call, by name."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from importlib import import_module
from typing import Any, ClassVar

from anyrerank._core.engine import shown
from anyrerank._core.routing.entries import Located
from anyrerank._core.routing.guardrail_kinds import BUILT, Build
from anyrerank._core.routing.spelling import refuse_misspelt
from anyrerank._core.runtime import resolved
from anyrerank.errors import ConfigurationError, MissingExtraError
from anyrerank.guardrails import Guardrail

_ENTRY = frozenset({"guardrail_name", "litellm_params", "guardrail_info"})
_OF_ANY_KIND = frozenset({"guardrail", "mode", "default_on"})


@dataclass(frozen=True, slots=True, eq=False)
class NamedGuardrail:
    """A guardrail of a configuration file. It checks the instruction of a call as well as its query, as in LiteLLM.

    Attributes:
        name: By which requests to a gateway may ask for it.
        kind: LiteLLM's name for what it does, or the path of a Python function.
        default_on: Whether it checks every call.
        steps: The guardrails that it consists of. All but the last are synchronous.
        digest: Of its other parameters as they are written, so that no value of a variable is in it.
    """

    name: str
    kind: str
    default_on: bool
    steps: tuple[Guardrail, ...] = field(repr=False)
    digest: str = field(repr=False)

    checks_instruction: ClassVar = True

    @property
    def __name__(self) -> str:
        return self.name[:80]

    @property
    def blocking(self) -> bool:
        """Whether it must run in a thread."""
        return any(getattr(each, "blocking", False) for each in self.steps)

    def __call__(self, query: str) -> str | Awaitable[str]:
        """Return the query as it may be sent; or raise, as its steps do."""
        *first, last = self.steps
        for each in first:
            query = each(query)  # type: ignore[assignment]
        return last(query)


def guardrails_of(given: object) -> tuple[NamedGuardrail, ...]:
    """The guardrails in the section `guardrails`.

    Raises:
        ConfigurationError: One of them is wrong, or not supported. Its message begins with the place of it.
        MissingExtraError: One of them needs a library that is not installed.
    """
    if not isinstance(given, list | None):
        raise ConfigurationError("guardrails must be a list of mappings with guardrail_name and litellm_params")
    found: dict[str, NamedGuardrail] = {}
    for number, entry in enumerate(given or []):
        where = entry.where if isinstance(entry, Located) else f"guardrails[{number}]"
        try:
            each = _guardrail(entry, where)
            if each.name in found:
                raise ConfigurationError(f"the guardrail {each.name} is given twice")
        except ConfigurationError as error:
            message = error.message if error.message.startswith(where) else f"{where}: {error.message}"
            raise (MissingExtraError if isinstance(error, MissingExtraError) else ConfigurationError)(message) from None
        found[each.name] = each
    return tuple(found.values())


def _guardrail(entry: object, where: str) -> NamedGuardrail:
    name = entry.get("guardrail_name") if isinstance(entry, Mapping) else None
    given = entry.get("litellm_params") if isinstance(entry, Mapping) else None
    if not isinstance(entry, Mapping) or not isinstance(name, str) or not name or not isinstance(given, Mapping):
        raise ConfigurationError("a guardrail must be a mapping with guardrail_name and litellm_params")
    refuse_misspelt("a guardrail", entry, _ENTRY)
    kind = resolved(given.get("guardrail"), where)
    build = _build_of(kind)  # first: no variable makes a kind work that is not supported
    params = resolved(given, where)
    default_on = params.get("default_on") or False
    if not isinstance(default_on, bool):
        raise ConfigurationError(f"default_on must be true or false, got {shown(default_on)}")
    _check_mode(params.get("mode"))
    return NamedGuardrail(name, str(kind), default_on, build(_own(params)), _digest(_own(given)))


def _own(params: Mapping[str, Any]) -> dict[str, Any]:
    return {setting: value for setting, value in params.items() if setting not in _OF_ANY_KIND}


def _digest(params: Mapping[str, Any]) -> str:
    return sha256(repr(sorted(params.items(), key=str)).encode()).hexdigest()


def _check_mode(mode: object) -> None:
    if "pre_call" not in (mode if isinstance(mode, list) else [mode]):
        raise ConfigurationError(
            "mode must be pre_call, or a list with it: a guardrail checks the query before it is sent; answers have no "
            "text to check"
        )


def _build_of(kind: object) -> Build:
    """What makes guardrails of a kind from their parameters."""
    if isinstance(kind, str) and kind in BUILT:
        return BUILT[kind]
    module, _, attribute = kind.rpartition(".") if isinstance(kind, str) else ("", "", "")
    if all(map(str.isidentifier, (*module.split("."), attribute))):
        return partial(_of_path, module, attribute)
    raise ConfigurationError(
        f"the guardrail {str(kind)[:60]} is not supported; those that work are {', '.join(sorted(BUILT))}, and the "
        "path module.name of a Python function that takes the query and returns it"
    )


def _of_path(module: str, attribute: str, params: Mapping[str, Any]) -> tuple[Guardrail, ...]:
    """A function, or an object of a class that is made with the other parameters, in an installed module.

    No file is run because it is next to the configuration: that would make a folder with a configuration a program.
    """
    path = f"{module}.{attribute}"
    try:
        found = getattr(import_module(module), attribute)
    except ImportError as error:
        raise ConfigurationError(
            f"{path} cannot be imported ({error}): install its module, or put its folder into PYTHONPATH; a file next "
            "to this one is not loaded"
        ) from None
    except Exception as error:  # noqa: BLE001  a user's module may raise anything
        raise ConfigurationError(f"{path} cannot be imported: {type(error).__name__}") from None
    if hasattr(found, "async_pre_call_hook"):
        raise ConfigurationError(
            f"{path} is a guardrail for LiteLLM: name a function that takes the query and returns it"
        )
    if isinstance(found, type):
        found = _made(path, found, params)
    elif params:
        raise ConfigurationError(f"{path} is not a class, and takes no {', '.join(sorted(map(str, params)))}")
    if not callable(found):
        raise ConfigurationError(f"{path} must be a function that takes the query and returns it")
    return (found,)


def _made(path: str, kind: type, params: Mapping[str, Any]) -> Any:
    try:
        return kind(**params)
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {error.message}") from None
    except Exception as error:  # noqa: BLE001  a user's class may raise anything
        raise ConfigurationError(f"{path} cannot be made with these litellm_params: {type(error).__name__}") from None
