"""The playground: one page that compares models on a query, and loads nothing from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response


async def playground(_: Request) -> Response:
    """The page. Its scripts and styles are those in the file, and no other site can show it in a frame."""
    content, policy = _page()
    headers = {
        "content-security-policy": policy,
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
        "cache-control": "no-cache",
    }
    return Response(content, media_type="text/html", headers=headers)


@cache
def _page() -> tuple[str, str]:
    content = files("anyrerank.gateway.operation").joinpath("playground.html").read_text("utf-8")
    script, style = (_digest(content, tag) for tag in ("script", "style"))
    policy = (
        f"default-src 'none'; script-src {script}; style-src {style}; connect-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return content, policy


def _digest(content: str, tag: str) -> str:
    """The source of the only `tag` in the page, for its policy."""
    text = re.findall(rf"<{tag}>(.*?)</{tag}>", content, re.DOTALL)[0]
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"
