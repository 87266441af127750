"""Calls a server with Together's SDK: `python together_client.py URL KEY`.

Reads a list of request bodies and prints how the SDK reads each answer.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from worker_metrics import APIStatusError, WorkerMetrics  # type: ignore[import-not-found]


def main(url: str, key: str) -> None:
    """Send each body and read each answer in the SDK's strict mode."""
    client = WorkerMetrics(base_url=url, api_key=key, max_retries=0, _strict_response_validation=True)
    sys.stdout.write(json.dumps([_outcome(client, body) for body in json.load(sys.stdin)]))


def _outcome(client: WorkerMetrics, body: dict[str, Any]) -> dict[str, Any]:
    try:
        read: dict[str, Any] = client.rerank.create(**body).model_dump(mode="json")
    except APIStatusError as error:
        return {"class": type(error).__name__, "status": error.status_code, "message": error.message}
    return read


if __name__ == "__main__":
    main(*sys.argv[1:])
