"""Images of LlamaIndex nodes."""

from __future__ import annotations

import base64
import mimetypes
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit
from urllib.request import url2pathname

from llama_index.core.schema import BaseNode, ImageNode, Node

from anyrerank._adapters import image_data_url
from anyrerank.errors import BadRequestError


class NodeImage(NamedTuple):
    """The image of a node: its data, path or URL."""

    data: str | bytes | None
    path: str | Path | None
    url: str | None
    media_type: str | None


def image_of(node: BaseNode) -> NodeImage | None:
    """The image of a node, not read yet, or `None`."""
    if isinstance(node, ImageNode):
        image = NodeImage(node.image, node.image_path, node.image_url, node.image_mimetype)
    elif isinstance(node, Node) and (resource := node.image_resource) is not None:
        url = None if resource.url is None else str(resource.url)
        image = NodeImage(resource.data, resource.path, url, resource.mimetype)
    else:
        return None
    return image if image.data or image.path or image.url else None


def read_images(images: Mapping[int, NodeImage]) -> dict[int, str]:
    """Images by the index of their node, each as a data URL or another URL; files are read.

    Raises:
        BadRequestError: A file cannot be read.
    """
    found = {}
    for index, image in images.items():
        try:
            found[index] = _url_of(image)
        except (OSError, ValueError) as error:
            raise BadRequestError(f"nodes[{index}] has an image that cannot be read: {type(error).__name__}") from None
    return found


def _url_of(image: NodeImage) -> str:
    if image.data:
        return image_data_url(image.data if isinstance(image.data, str) else image.data.decode(), image.media_type)
    url = image.url or ""
    path = image.path or (url2pathname(urlsplit(url).path) if url[:5].lower() == "file:" else None)
    if path is None:
        return url
    data = base64.b64encode(Path(path).read_bytes()).decode()
    return image_data_url(data, mimetypes.guess_type(str(path))[0])
