"""`import anyrerank` against importing what it is made with, each time in a fresh interpreter."""

from __future__ import annotations

import json
import subprocess
import sys
from statistics import median

from tests.benchmarks.figures import Figure, stays_under, within_ratio
from tests.benchmarks.loopback import ROOT

_RUNS = 21
_FRAMEWORKS = {
    "langchain", "langchain_core", "langchain_classic", "llama_index", "numpy", "pandas", "sklearn", "tokenizers", "torch",
    "transformers",
}  # fmt: skip

# httpx imports click, pygments and rich for its command line where they happen to be installed; a plain installation
# has none of them, and with them the peer would look heavier than it is.
_PROGRAM = """
import sys, time, json
sys.modules.update(dict.fromkeys(("click", "pygments", "rich")))
wall, cpu = time.perf_counter(), time.process_time()
import {names}
wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
print(json.dumps([wall, cpu, sorted({{name.partition(".")[0] for name in sys.modules}})]))
"""


def run() -> list[Figure]:
    ours, peer = [], []
    for _ in range(_RUNS):
        ours.append(_imported("anyrerank"))
        peer.append(_imported("httpx, pydantic"))
    (wall, cpu, modules), (peer_wall, peer_cpu, _) = ours[0], peer[0]
    wall, cpu = (1000 * median(run[kind] for run in ours) for kind in (0, 1))
    peer_wall, peer_cpu = (1000 * median(run[kind] for run in peer) for kind in (0, 1))
    frameworks = len(_FRAMEWORKS.intersection(modules))
    return [
        within_ratio("import", "wall, with httpx and pydantic", wall, peer_wall, "ms", limit=1.3),
        within_ratio("import", "CPU, with httpx and pydantic", cpu, peer_cpu, "ms", limit=1.3),
        stays_under("import", "frameworks that come along", frameworks, None, "modules", limit=0),
    ]


def _imported(names: str) -> tuple[float, float, list[str]]:
    """Seconds of wall and of CPU time that importing `names` takes, and the packages that are there afterwards."""
    command = [sys.executable, "-c", _PROGRAM.format(names=names)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S603
    wall, cpu, modules = json.loads(done.stdout)
    return wall, cpu, modules
