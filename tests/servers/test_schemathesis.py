"""The gateway against its own description: Schemathesis makes up requests, right and wrong ones."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.servers.processes import environment as variables
from tests.support.gateway import MASTER_KEY, entry
from tests.support.keys import serving

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "unsupported_method",
    "ignored_auth",
)


def test_gateway_does_what_its_description_says(environment: Callable[[str], str], tmp_path: Path) -> None:
    program = str(Path(environment("schemathesis")).with_name("schemathesis"))
    with serving(tmp_path, [entry("rerank"), entry("other")]) as gateway:
        options = ["--checks", ",".join(CHECKS), "--max-examples", "25", "--seed", "1", "--no-color"]
        command = [program, "run", f"{gateway.url}/openapi.json", "-H", f"Authorization: Bearer {MASTER_KEY}", *options]
        done = subprocess.run(  # noqa: S603
            command, cwd=tmp_path, env=variables(tmp_path), capture_output=True, text=True, timeout=300, check=False
        )

    assert done.returncode == 0, done.stdout[-10000:]
