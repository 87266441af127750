"""Puts the files of the repository that pages link to, such as `compose.yaml`, into the built site.

`make docs` runs it after the generator. It needs the standard library only.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDER = "files"
_LINK = re.compile(r'\bhref="(\.\./[^"#:]+)"')


def attach(site: Path) -> None:
    """Copy each file of the repository that a page at the top of the site links to, and change the links."""

    def attached(link: re.Match[str]) -> str:
        source = (ROOT / "docs" / link[1]).resolve()
        name = source.relative_to(ROOT)
        target = site / FOLDER / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        return f'href="{FOLDER}/{name.as_posix()}"'

    for page in site.glob("*.html"):
        page.write_text(_LINK.sub(attached, page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    attach(Path(sys.argv[1]))
