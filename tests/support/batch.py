"""Rows for batches, what became of them, and a process that runs a batch and can be killed at any step."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from anyrerank import Reranker
from anyrerank.batch import run
from anyrerank.testing import StubServer

CANDIDATES = ["Mars is the red planet.", "Venus is bright.", "Saturn has rings."]


def row(number: int) -> dict[str, Any]:
    return {"id": f"r{number}", "query": f"Which planet is red? ({number})", "candidates": CANDIDATES}


def write_rows(path: Path, rows: Iterable[Any]) -> Path:
    path.write_text("".join(f"{each if isinstance(each, str) else json.dumps(each)}\n" for each in rows))
    return path


def parts(out: Path) -> list[dict[str, Any]]:
    """The rows of the output, in the order of the parts."""
    return [json.loads(line) for path in sorted(out.glob("part-*.jsonl")) for line in path.read_bytes().splitlines()]


def ids(out: Path) -> list[str]:
    return sorted(each["id"] for each in parts(out))


def expected(count: int) -> list[str]:
    return sorted(f"r{number}" for number in range(count))


def sends(server: StubServer) -> Counter[str]:
    """How often each query was sent."""
    return Counter(request.json["query"] for request in server.requests)


def paid_twice(server: StubServer) -> int:
    return sum(count - 1 for count in sends(server).values())


def reranker(url: str, **options: Any) -> Reranker:
    return Reranker("cohere_compatible/m", api_base=url, api_key="k", input_cost_per_query=0.001, **options)


def voyage(url: str, **options: Any) -> Reranker:
    """A model that has a batch API; see `VoyageStandIn`."""
    return Reranker("voyage/rerank-2.5", api_base=url, api_key="pa-key", **options)


def die_at(step: int) -> None:
    """Kill this process at the given step of writing to files: the `step`-th call that changes what is on the disk."""
    count = 0

    def dying(name: str) -> Callable[..., Any]:
        real = getattr(os, name)

        def call(*arguments: Any, **keywords: Any) -> Any:
            nonlocal count
            count += 1
            if count == step:
                if name == "write":
                    real(arguments[0], arguments[1][: len(arguments[1]) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments, **keywords)

        return call

    for name in ("write", "fsync", "replace", "unlink"):
        setattr(os, name, dying(name))


def main(arguments: Sequence[str]) -> None:
    """Run a batch: URL, input, output, rows of a chunk, rows in flight; way, kept, where to die, a size limit."""
    url, inputs, out, chunk_rows, in_flight, *more = arguments
    options: dict[str, Any] = {"chunk_rows": int(chunk_rows), "in_flight": int(in_flight), "max_wait": 30}
    for each in more:
        name, _, value = each.partition("=")
        if name == "keep":
            options["keep"] = value.split(",")
        elif name == "die_at":
            die_at(int(value))
        elif name == "via":
            options["via"] = value
        elif name == "file_size":
            import resource

            resource.setrlimit(resource.RLIMIT_FSIZE, (int(value), resource.RLIM_INFINITY))
    target = voyage(url) if "via" in options else reranker(url)
    report = run(inputs, out, target, **options)
    sys.stdout.write(str(report))
    raise SystemExit(report.exit_code)


if __name__ == "__main__":
    main(sys.argv[1:])
