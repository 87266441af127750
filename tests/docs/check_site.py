"""Checks the built site: nothing is loaded from elsewhere, no link leaves it, and every public name is documented.

`make docs` runs it after the generator, which checks the links between pages. It needs the standard library only.
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
_ADDRESS = r"((?:https?:)?//[^\s\"'>)]+)"
_LOADED = re.compile(rf"<(?:link|script|img|iframe|source|video|audio)\b[^>]*?\b(?:href|src|srcset)=\"?{_ADDRESS}")
_IN_STYLES = re.compile(rf"(?:url\(|@import)\s*[\"']?{_ADDRESS}")
_RELATIVE = re.compile(r"\bhref=\"?((?!https?:|mailto:|/)[^\s\"#>]+)")
_ANCHOR = re.compile(r"\bid=\"?(anyrerank[\w.]*)")


def outside(site: Path) -> list[str]:
    """What pages and styles load from other hosts, as `page: address`."""
    found = []
    for pattern, ending in ((_LOADED, "html"), (_IN_STYLES, "css")):
        for page in sorted(site.rglob(f"*.{ending}")):
            text = page.read_text(encoding="utf-8")
            found += [f"{page.relative_to(site)}: {address}" for address in pattern.findall(text)]
    return found


def missing(site: Path) -> list[str]:
    """The relative links that lead to no file of the site, as `page: link`."""
    return [
        f"{page.relative_to(site)}: {link}"
        for page in sorted(site.rglob("*.html"))
        for link in _RELATIVE.findall(page.read_text(encoding="utf-8"))
        if not (target := (page.parent / link).resolve()).is_relative_to(site) or not target.exists()
    ]


def undocumented(site: Path) -> list[str]:
    """The public names without an entry in the API reference."""
    anchors = {name for page in site.glob("api/*.html") for name in _ANCHOR.findall(page.read_text(encoding="utf-8"))}
    return sorted(name for name in public_names() if not any(map(_entry(name).fullmatch, anchors)))


def _entry(name: str) -> re.Pattern[str]:
    """Matches the anchor of a name; one that a module has too is listed as a member of the module that defines it."""
    package, _, last = name.rpartition(".")
    return re.compile(rf"{re.escape(package)}(\.[a-z_]+)?\.{last}")


def public_names() -> set[str]:
    """Every name in `__all__` of a package that users may import, with the name of the package."""
    root = ROOT / "integrations" / "anyrerank"
    packages = [root, *(path.parent for path in root.glob("[!_]*/__init__.py"))]
    return {
        f"{'.'.join(package.relative_to(root.parent).parts)}.{name}"
        for package in packages
        if package.name not in ("cli", "demo")  # what the commands are made of
        for name in _listed(package / "__init__.py")
        if name != "__version__"
    }


def _listed(module: Path) -> list[str]:
    for node in ast.parse(module.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return list(ast.literal_eval(node.value))
    return []


def main(site: Path) -> int:
    """Print what is wrong with the site, and return the exit status."""
    problems = [
        *(f"loaded from elsewhere: {each}" for each in outside(site)),
        *(f"not in the site: {each}" for each in missing(site.resolve())),
        *(
            f"not in the API reference: {each} needs a docstring, or its page under docs/api"
            for each in undocumented(site)
        ),
    ]
    sys.stdout.write("".join(f"{problem}\n" for problem in problems))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
