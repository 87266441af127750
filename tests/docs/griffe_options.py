"""Completes the docstrings that Griffe, which reads the source, finds unfinished."""

from typing import Any

import griffe


class Options(griffe.Extension):
    """Does what the decorators of the package do when it runs."""

    def on_function_instance(self, *, func: Any, **others: Any) -> None:
        """Refer to the options where a docstring lists them, and document what has the parameters of another one."""
        if func.docstring is not None:
            func.docstring.value = func.docstring.value.replace(
                "{options}", "**keywords: Any of the [options](../options.md), and options of the provider."
            )
        for decorator in func.decorators:
            name, _, other = str(decorator.value).partition("(")
            if name in {"same_parameters", "same_overloads"} and func.docstring is None:
                text = f"The asynchronous form of `{other.rstrip(')')}`, with the same parameters."
                func.docstring = griffe.Docstring(text, parent=func)
