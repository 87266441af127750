"""`import anyrerank` against importing what it is made with, each time in a fresh interpreter."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from statistics import median

from tests.benchmarks.figures import Figure, stays_under, within_ratio
from tests.benchmarks.loopback import ROOT

_RUNS = 21
_FRAMEWORKS = {
    *("langchain", "langchain_core", "langchain_classic", "llama_index"),
    *("numpy", "pandas", "sklearn", "tokenizers", "torch", "transformers"),
}

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


@dataclass(frozen=True, slots=True)
class _Import:
    """What an import takes, in seconds, and the packages that are there afterwards."""

    wall: float
    cpu: float
    packages: list[str]


def run() -> list[Figure]:
    ours, peer = [], []
    for _ in range(_RUNS):
        ours.append(_imported("anyrerank"))
        peer.append(_imported("httpx, pydantic"))
    wall, peer_wall = (1000 * median(each.wall for each in runs) for runs in (ours, peer))
    cpu, peer_cpu = (1000 * median(each.cpu for each in runs) for runs in (ours, peer))
    frameworks = len(_FRAMEWORKS.intersection(ours[0].packages))
    return [
        within_ratio("import", "wall, with httpx and pydantic", wall, peer_wall, "ms", limit=1.3),
        within_ratio("import", "CPU, with httpx and pydantic", cpu, peer_cpu, "ms", limit=1.3),
        stays_under("import", "frameworks that come along", frameworks, None, "modules", limit=0),
    ]


def _imported(names: str) -> _Import:
    command = [sys.executable, "-c", _PROGRAM.format(names=names)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S603
    return _Import(*json.loads(done.stdout))
