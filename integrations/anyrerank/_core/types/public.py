"""The public path of classes that live in a private module."""

from collections.abc import Callable
from typing import TypeVar

C = TypeVar("C", bound=type)


def public(module: str) -> Callable[[C], C]:
    """Let a class show the module that users import it from: in reprs, pickles and LangChain's ids.

    String annotations would be looked up in that module, so a decorated class has none.
    """

    def decorate(cls: C) -> C:
        cls.__module__ = module
        return cls

    return decorate
