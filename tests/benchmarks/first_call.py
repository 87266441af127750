"""The first call in a fresh interpreter, against a copy of the package that has no provider but the one that is used.

What the other providers are made of must not be paid for by those who do not use them.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from tests.benchmarks.figures import Figure, within_ratio
from tests.benchmarks.loopback import ROOT

_RUNS = 31
_PACKAGE = ROOT / "integrations" / "anyrerank"
_PROGRAM = """
import sys, time
sys.path.insert(0, sys.argv[1])
began = time.process_time()
import anyrerank
anyrerank.rerank("local/lexical", "a question", ["an answer", "something else"])
print(time.process_time() - began)
"""


def run() -> list[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        alone = _copy_with(Path(folder) / "alone", only="local.py")
        every = _copy_with(Path(folder) / "every", only=None)
        ours, peer = [], []
        for _ in range(_RUNS):
            ours.append(_seconds(every))
            peer.append(_seconds(alone))
    first, peer_first = 1000 * median(ours), 1000 * median(peer)
    return [within_ratio("first_call", "CPU, with a single provider", first, peer_first, "ms", limit=1.05)]


def _copy_with(folder: Path, *, only: str | None) -> Path:
    """A source root with the package, with one provider or with all of them."""
    providers = (
        shutil.copytree(_PACKAGE, folder / "anyrerank", ignore=shutil.ignore_patterns("__pycache__")) / "providers"
    )
    for file in providers.glob("[!_]*.py"):
        if only is not None and file.name != only:
            file.unlink()
    if only is not None:
        (providers / "_table.py").write_text("ROWS = {}\n", encoding="utf-8")
    _seconds(folder)
    return folder


def _seconds(root: Path) -> float:
    command = [sys.executable, "-c", _PROGRAM, str(root)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)  # noqa: S603
