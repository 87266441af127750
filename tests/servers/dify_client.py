"""Calls a gateway with the rerank model of Dify's plugin SDK: `python dify_client.py URL KEY`.

Reads query, documents and the name of a model, and prints (text, score) pairs, as Dify shows them.
"""

from __future__ import annotations

import json
import sys

from dify_plugin import OAICompatRerankModel  # type: ignore[import-not-found]


class _Model(OAICompatRerankModel):  # type: ignore[misc]
    """A plugin, as those of Lemonade and Huawei are."""


def main(url: str, key: str) -> None:
    """Check the credentials as Dify does when a user saves them, then rank."""
    given = json.load(sys.stdin)
    model = _Model(model_schemas=[])
    credentials = {"endpoint_url": url, "api_key": key}
    model.validate_credentials(given["model"], credentials)
    found = model.invoke(given["model"], credentials, given["query"], given["documents"])
    sys.stdout.write("\n" + json.dumps([(each.text, each.score) for each in found.docs]))


if __name__ == "__main__":
    main(*sys.argv[1:])
