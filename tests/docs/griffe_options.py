"""Completes what Griffe, which reads the source, finds unfinished: docstrings, and annotations made for pydantic."""

import re
from dataclasses import fields, is_dataclass
from typing import Any

import griffe

_WRAPPERS = {"Annotated", "InstanceOf"}
_SEVERAL = re.compile(r"^( +)(\w+(?:, \w+)+):(.*\n?(?:\1 +.*\n?)*)", flags=re.MULTILINE)
"""An entry of a section that describes several names."""


class Options(griffe.Extension):
    """Does what the decorators of the package do when it runs, and shows the type in an annotation alone."""

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

    def on_instance(self, *, obj: Any, **others: Any) -> None:
        """Give each name an entry of its own, where a docstring describes several in one, and show examples as code."""
        if obj.docstring is not None:
            text = re.sub(r"^Example:$", "Examples:", obj.docstring.value, flags=re.MULTILINE)
            obj.docstring.value = _SEVERAL.sub(_one_each, text)

    def on_package(self, *, pkg: Any, **others: Any) -> None:
        """Show the fields of models with their types, without what pydantic does with them."""
        for module in (pkg, *_members(pkg, "module")):
            for model in _members(module, "class"):
                for attribute in _members(model, "attribute"):
                    attribute.annotation = _plain(attribute.annotation, module)
                    attribute.value = _default(attribute.value)


def _one_each(entry: re.Match[str]) -> str:
    indent, names, text = entry.groups()
    return "".join(f"{indent}{name}:{text.rstrip()}\n" for name in names.split(", "))


def _members(of: Any, kind: str) -> list[Any]:
    """What is defined in a module or class; modules in modules, too."""
    own = [each for each in of.members.values() if not each.is_alias and each.kind.value == kind]
    return [*own, *(below for each in own if kind == "module" for below in _members(each, kind))]


def _plain(annotation: Any, module: Any) -> Any:
    """An annotation without `Annotated` and `InstanceOf`, with private names of its module spelled out."""
    if isinstance(annotation, griffe.ExprName) and annotation.name.startswith("_"):
        alias = module.members.get(annotation.name)
        return _plain(alias.value, module) if alias and not alias.is_alias and alias.is_attribute else annotation
    if isinstance(annotation, griffe.ExprSubscript) and str(annotation.left) in _WRAPPERS:
        inner = annotation.slice
        return _plain(inner.elements[0] if isinstance(inner, griffe.ExprTuple) else inner, module)
    if is_dataclass(annotation):
        for field in fields(annotation):
            value = getattr(annotation, field.name)
            if isinstance(value, griffe.Expr):
                setattr(annotation, field.name, _plain(value, module))
            elif isinstance(value, list):
                setattr(annotation, field.name, [_plain(each, module) for each in value])
    return annotation


def _default(value: Any) -> Any:
    """The default of a field, also where it is an argument of pydantic's `Field`."""
    if isinstance(value, griffe.ExprCall) and str(value.function) == "Field":
        keywords = (each for each in value.arguments if isinstance(each, griffe.ExprKeyword))
        return next((each.value for each in keywords if each.name == "default"), value)
    return value
