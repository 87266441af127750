"""What is asked of a gateway while it is watched."""

from tests.support.gateway import MASTER_KEY, entry

from anyrerank.testing import StubServer

ASK = {"model": "rerank", "query": "red planet", "documents": ["Venus", "Mars is the red planet"]}
HEADERS = {"authorization": f"Bearer {MASTER_KEY}"}
MODEL_ROUTES = ["/v1/models", "/models", "/v1/model/info", "/model/info", "/model_group/info"]


def at(vendor: StubServer, name: str = "rerank", **more: object) -> dict[str, object]:
    return entry(name, "cohere/rerank-v3.5", api_key="vendor-key-3f9", api_base=vendor.url, **more)
