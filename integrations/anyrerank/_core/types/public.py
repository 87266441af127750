"""The public path of classes that live in a private module."""

from collections.abc import Callable
from typing import TypeVar

C = TypeVar("C", bound=type)


def public(module: str) -> Callable[[C], C]:
    """Set `__module__` of a class to the module that users import it from, for reprs, pickles and LangChain's ids.

    Annotations that are strings would be looked up in that module, so the decorated class must not have any.
    """

    def decorate(cls: C) -> C:
        cls.__module__ = module
        return cls

    return decorate
