"""Reading a YAML file, with errors that say where."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from anyrerank._core.routing.entries import Located
from anyrerank._core.runtime import import_optional
from anyrerank.errors import ConfigurationError

_QUOTED = re.compile(r"(?!'(?:\\?.|<[a-z ]+>)')(?:'[^']*'|\"[^\"]*\")")
"""A quotation, other than of a single character and of a kind of token such as `<block end>`."""
_MAP, _MERGE = "tag:yaml.org,2002:map", "tag:yaml.org,2002:merge"


def read_yaml(file: Path) -> Any:
    """The content of a YAML file; every mapping in it is `Located`.

    Raises:
        ConfigurationError: PyYAML is missing, or the file cannot be read, is not one YAML document, or gives a name
            twice in one mapping.
    """
    yaml = import_optional("yaml", "config", called="PyYAML")
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{file} cannot be read: {type(error).__name__}") from None
    try:
        return _loader(yaml.SafeLoader, file)(text).get_single_data()
    except yaml.YAMLError as error:  # its message may quote a key
        mark = getattr(error, "problem_mark", None)
        line = text.count("\n", 0, error.position) if mark is None else mark.line
        raise ConfigurationError(f"{file}, line {line + 1}: not valid YAML: {_reason(error)}") from None


def _reason(error: Any) -> str:
    """What the parser says, without what it quotes from the file."""
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "it cannot be read"
    context = f"{error.context}, " if str(problem).startswith("but ") else ""
    return _QUOTED.sub("...", " ".join(f"{context}{problem}".split()))


def _loader(base: Any, file: Path) -> Any:
    """A loader that refuses names given twice, and knows where mappings begin."""

    def where(node: Any) -> str:
        return f"{file}, line {node.start_mark.line + 1}"

    class Loader(base):  # type: ignore[misc]
        def compose_mapping_node(self, anchor: Any) -> Any:
            node, seen = super().compose_mapping_node(anchor), set()
            for key, _ in node.value:
                name = (key.tag, str(key.value))
                if name in seen and key.tag != _MERGE:
                    raise ConfigurationError(f"{where(key)}: {key.value} is given twice")
                seen.add(name)
            return node

        def construct_object(self, node: Any, deep: bool = False) -> Any:
            try:
                return super().construct_object(node, deep)
            except ValueError:
                raise ConfigurationError(f"{where(node)}: not a valid date or number") from None

        def mapping(self, node: Any) -> Iterator[Located]:
            found = Located(where(node), places={str(key.value): where(key) for key, _ in node.value})
            yield found
            found.update(self.construct_mapping(node))

    Loader.add_constructor(_MAP, Loader.mapping)
    return Loader
