"""Images as data URLs."""

from __future__ import annotations

from typing import TypeGuard

from anyrerank._core.types import Document

_SIGNATURES = {
    "/9j/": "image/jpeg",
    "iVBORw0KGgo": "image/png",
    "R0lGOD": "image/gif",
    "UklGR": "image/webp",
    "Qk": "image/bmp",
    "SUkqA": "image/tiff",
    "TU0AK": "image/tiff",
}
"""How each format starts, in base64."""
_URLS = ("data:", "http://", "https://")


def is_image(value: object) -> TypeGuard[str]:
    """Whether `value` is a `data:`, `http:` or `https:` URL, or an image in base64."""
    return isinstance(value, str) and value.startswith((*_URLS, *_SIGNATURES))


def image_data_url(data: str, media_type: str | None) -> str:
    """A data URL of base64 `data`, or `data` itself if it is a URL already.

    Args:
        data: Base64, or a `data:`, `http:` or `https:` URL.
        media_type: Detected from the first bytes by default.
    """
    if data.startswith(_URLS):
        return data
    detected = next((kind for start, kind in _SIGNATURES.items() if data.startswith(start)), "image/png")
    return f"data:{media_type or detected};base64,{data}"


def with_image(text: str, image: str) -> Document:
    """A document of an image and its text, which is left out if it is blank."""
    return {"image": image, **({"text": text} if text.strip() else {})}
