"""`python -m tests.benchmarks [name ...]`: exit code 1 when a bound is missed."""

from __future__ import annotations

import sys
from importlib import import_module

from tests.benchmarks.cores import CLIENT, pin
from tests.benchmarks.figures import Figure, table

# The frameworks come last: what they leave in memory makes every later garbage collection longer.
_MODULES = {
    "import": "importing",
    "first_call": "first_call",
    "sync": "one_at_a_time",
    "async_64": "in_flight",
    "batches": "batches",
    "own_time": "own_time",
    "memory": "memory",
    "offline": "offline",
    "offline_speed": "offline_speed",
    "offline_kills": "offline_kills",
    "engines": "in_engines",
    "router": "routing",
    "cache": "caching",
    "ledger": "spending",
    "compare": "comparing",
    "adapters": "adapters",
    "concurrency": "concurrency",
    "gateways": "gateways",
    "overload": "overload",
    "replicas": "replicas",
    "quota": "quota",
}


def main(names: list[str]) -> int:
    if unknown := set(names) - _MODULES.keys():
        sys.stderr.write(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(_MODULES)}\n")
        return 2
    pin(CLIENT)
    figures: list[Figure] = []
    for name, module in _MODULES.items():
        if not names or name in names:
            sys.stderr.write(f"{name} ...\n")
            figures += import_module(f"tests.benchmarks.{module}").run()
    sys.stdout.write(f"{table(figures)}\n")
    return 0 if all(figure.bound.met for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
