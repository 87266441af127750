"""Calls a gateway with rerank clients as their users do: `python rerank_clients.py SET URL URL_WITHOUT_KEY KEY`.

Reads query, documents and the name of a model, and prints for each client what it made of the answer: pairs of text and
score, best first, or an error.
"""

# mypy: disable-error-code="attr-defined,import-not-found,import-untyped,union-attr"

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable
from typing import Any

Pairs = list[tuple[str, float]]
TOP = 2


class Case:
    """What is asked, and where."""

    def __init__(self, url: str, open_url: str, key: str, given: dict[str, Any]) -> None:
        self.url, self.open_url, self.key = url, open_url, key
        self.query, self.documents, self.model = given["query"], given["documents"], given["model"]

    def pairs(self, rows: Iterable[Any]) -> Pairs:
        """The results of an answer with an `index` and a `relevance_score` or `score`."""
        found = []
        for row in rows:
            fields = row if isinstance(row, dict) else row.__dict__
            score = fields["relevance_score"] if "relevance_score" in fields else fields["score"]
            found.append((self.documents[fields["index"]], score))
        return found


def litellm_of(provider: str, path: str = "") -> Callable[[Case], Pairs]:
    def call(case: Case) -> Pairs:
        import litellm

        answer = litellm.rerank(
            model=f"{provider}/{case.model}",
            query=case.query,
            documents=case.documents,
            top_n=TOP,
            api_base=f"{case.url}{path}".replace("{model}", case.model),
            api_key=case.key,
        )
        return case.pairs(answer.results)

    return call


def cohere_v1(case: Case) -> Pairs:
    import cohere

    client = cohere.Client(api_key=case.key, base_url=case.url)
    rows = client.rerank(model=case.model, query=case.query, documents=case.documents, top_n=TOP).results
    return [(row.document.text, row.relevance_score) for row in rows if row.document]  # v1 returns the documents


def cohere_v2(case: Case) -> Pairs:
    import cohere

    client = cohere.ClientV2(api_key=case.key, base_url=f"{case.url}/cohere")
    answer = client.rerank(model=case.model, query=case.query, documents=case.documents, top_n=TOP)
    return case.pairs(answer.results)


def voyageai(case: Case) -> Pairs:
    import voyageai

    client: Any = vars(voyageai)["Client"](api_key=case.key, base_url=f"{case.url}/voyage/v1")
    answer = client.rerank(case.query, case.documents, case.model, top_k=TOP)
    return [(row.document, row.relevance_score) for row in answer.results]


def mixedbread_at(path: str) -> Callable[[Case], Pairs]:
    def call(case: Case) -> Pairs:
        from mixedbread import Mixedbread

        client = Mixedbread(api_key=case.key, base_url=f"{case.url}{path}")
        return case.pairs(
            client.rerank(model=case.model, query=case.query, input=case.documents, top_k=TOP, return_input=True).data
        )

    return call


def dashscope_sdk(case: Case) -> Pairs:
    import dashscope

    dashscope.base_http_api_url = f"{case.url}/api/v1"
    answer = dashscope.TextReRank.call(
        model=case.model, query=case.query, documents=case.documents, top_n=TOP, return_documents=True, api_key=case.key
    )
    return [(row["document"]["text"], row["relevance_score"]) for row in answer.output.results]


def xinference_client(case: Case) -> Pairs:
    from xinference_client import RESTfulClient

    model = RESTfulClient(case.url, api_key=case.key).get_model(case.model)
    return case.pairs(model.rerank(case.documents, case.query, top_n=TOP, return_documents=True)["results"])


def together_sdk(case: Case) -> Pairs:
    from worker_metrics import WorkerMetrics

    client = WorkerMetrics(base_url=case.url, api_key=case.key)
    answer = client.rerank.create(model=case.model, query=case.query, documents=case.documents, top_n=TOP)
    return case.pairs(answer.results)


def langchain(make: Callable[[Case], Any]) -> Callable[[Case], Pairs]:
    def call(case: Case) -> Pairs:
        from langchain_core.documents import Document

        documents = [Document(text) for text in case.documents]
        found = make(case).compress_documents(documents, case.query)
        return [(each.page_content, each.metadata["relevance_score"]) for each in found]

    return call


def langchain_cohere(case: Case) -> Any:
    from langchain_cohere import CohereRerank

    return CohereRerank(cohere_api_key=case.key, base_url=f"{case.url}/cohere", model=case.model, top_n=TOP)


def langchain_nvidia(case: Case) -> Any:
    from langchain_nvidia_ai_endpoints import NVIDIARerank

    return NVIDIARerank(api_key=case.key, base_url=f"{case.url}/v1", model=case.model, top_n=TOP, truncate="END")


def langchain_voyageai(case: Case) -> Any:
    from langchain_voyageai import VoyageAIRerank

    return VoyageAIRerank(api_key=case.key, base_url=f"{case.url}/voyage/v1", model=case.model, top_k=TOP)


def llama_index(make: Callable[[Case], Any]) -> Callable[[Case], Pairs]:
    def call(case: Case) -> Pairs:
        from llama_index.core.schema import NodeWithScore, TextNode

        nodes = [NodeWithScore(node=TextNode(text=text)) for text in case.documents]
        found = make(case).postprocess_nodes(nodes, query_str=case.query)
        return [(each.node.text, each.score) for each in found]

    return call


def llama_index_cohere(case: Case) -> Any:
    from llama_index.postprocessor.cohere_rerank import CohereRerank

    return CohereRerank(api_key=case.key, base_url=f"{case.url}/cohere", model=case.model, top_n=TOP)


def llama_index_nvidia(case: Case) -> Any:
    from llama_index.postprocessor.nvidia_rerank import NVIDIARerank

    return NVIDIARerank(api_key=case.key, base_url=f"{case.url}/v1", model=case.model, top_n=TOP)


def llama_index_tei(case: Case) -> Any:
    from llama_index.postprocessor.tei_rerank import TextEmbeddingInference

    return TextEmbeddingInference(
        base_url=f"{case.url}/tei/{case.model}", model_name=case.model, top_n=TOP, auth_token=case.key
    )


def llama_index_xinference(case: Case) -> Any:
    from llama_index.postprocessor.xinference_rerank import XinferenceRerank

    return XinferenceRerank(base_url=case.open_url, model=case.model, top_n=TOP)  # it cannot send a key


def llama_index_siliconflow(case: Case) -> Any:
    from llama_index.postprocessor.siliconflow_rerank import SiliconFlowRerank

    return SiliconFlowRerank(base_url=f"{case.url}/v1/rerank", api_key=case.key, model=case.model, top_n=TOP)


def llama_index_mixedbread(case: Case) -> Any:
    from llama_index.postprocessor.mixedbreadai_rerank import MixedbreadAIRerank

    os.environ["MIXEDBREAD_BASE_URL"] = f"{case.url}/mixedbread"
    return MixedbreadAIRerank(api_key=case.key, model=case.model, top_n=TOP)


def llama_index_dashscope(case: Case) -> Any:
    import dashscope
    from llama_index.postprocessor.dashscope_rerank import DashScopeRerank

    dashscope.base_http_api_url = f"{case.url}/api/v1"
    return DashScopeRerank(api_key=case.key, model=case.model, top_n=TOP)


def llama_index_jina(case: Case) -> Any:
    from llama_index.postprocessor.jinaai_rerank import JinaRerank

    return JinaRerank(base_url=f"{case.url}/jina/v1", api_key=case.key, model=case.model, top_n=TOP)


def haystack(make: Callable[[Case], Any]) -> Callable[[Case], Pairs]:
    def call(case: Case) -> Pairs:
        from haystack import Document

        documents = [Document(content=text) for text in case.documents]
        found = make(case).run(query=case.query, documents=documents)["documents"]
        return [(each.content, each.score) for each in found]

    return call


def haystack_cohere(case: Case) -> Any:
    from haystack.utils import Secret
    from haystack_integrations.components.rankers.cohere import CohereRanker

    return CohereRanker(
        model=case.model, api_key=Secret.from_token(case.key), api_base_url=f"{case.url}/cohere", top_k=TOP
    )


def haystack_jina(case: Case) -> Any:
    from haystack.utils import Secret
    from haystack_integrations.components.rankers.jina import JinaRanker

    return JinaRanker(
        model=case.model, api_key=Secret.from_token(case.key), base_url=f"{case.url}/jina/v1/rerank", top_k=TOP
    )


def haystack_nvidia(case: Case) -> Any:
    from haystack.utils import Secret
    from haystack_integrations.components.rankers.nvidia import NvidiaRanker

    return NvidiaRanker(
        model=case.model, api_key=Secret.from_token(case.key), api_url=f"{case.url}/v1", top_k=TOP, truncate="END"
    )


def infinity_client(case: Case) -> Any:
    from infinity_client import Client

    return Client(base_url=f"{case.url}/infinity", headers={"Authorization": f"Bearer {case.key}"})


def infinity_sdk(case: Case) -> Pairs:
    from infinity_client.api.default import rerank
    from infinity_client.models import RerankInput

    client = infinity_client(case)
    refused: Any = rerank.sync(client=client, body=RerankInput(query=" ", documents=case.documents, model=case.model))
    if "query" not in refused.detail[0].msg:
        raise AssertionError(refused)
    body = RerankInput(query=case.query, documents=case.documents, model=case.model, top_n=TOP, return_documents=True)
    answer: Any = rerank.sync(client=client, body=body)
    return [(row.document, row.relevance_score) for row in answer.results]


def langchain_infinity(case: Case) -> Any:
    from langchain_community.document_compressors import InfinityRerank

    return InfinityRerank(client=infinity_client(case), model=case.model, top_n=TOP)


def lightrag_of(function: str, path: str) -> Callable[[Case], Pairs]:
    def call(case: Case) -> Pairs:
        import asyncio

        from lightrag import rerank

        ask = getattr(rerank, function)
        url = f"{case.url}{path}"
        rows = asyncio.run(ask(case.query, case.documents, top_n=TOP, api_key=case.key, model=case.model, base_url=url))
        return case.pairs(rows)

    return call


def rerankers_of(provider: str, path: str) -> Callable[[Case], Pairs]:
    def call(case: Case) -> Pairs:
        from rerankers.models.api_rankers import APIRanker

        url = f"{case.url}{path}".replace("{model}", case.model)
        ranker = APIRanker(case.model, case.key, provider, url=url)
        return [(each.text, each.score) for each in ranker.rank(case.query, case.documents).top_k(TOP)]

    return call


OTHERS: dict[str, Callable[[Case], Pairs]] = {
    "infinity-client": infinity_sdk,
    "langchain-community InfinityRerank": langchain(langchain_infinity),
    "lightrag cohere": lightrag_of("cohere_rerank", "/v2/rerank"),
    "lightrag jina": lightrag_of("jina_rerank", "/v1/rerank"),
    "lightrag aliyun": lightrag_of("ali_rerank", "/api/v1/services/rerank/text-rerank/text-rerank"),
    "rerankers cohere": rerankers_of("cohere", "/cohere/v1/rerank"),
    "rerankers jina": rerankers_of("jina", "/jina/v1/rerank"),
    "rerankers voyage": rerankers_of("voyage", "/voyage/v1/rerank"),
    "rerankers mixedbread": rerankers_of("mixedbread.ai", "/mixedbread/v1/reranking"),
    "rerankers tei": rerankers_of("text-embeddings-inference", "/tei/{model}/rerank"),
}
"""Those that need older versions of the libraries that the others use."""

CLIENTS: dict[str, Callable[[Case], Pairs]] = {
    "litellm litellm_proxy": litellm_of("litellm_proxy"),
    "litellm cohere": litellm_of("cohere", "/cohere"),
    "litellm nvidia_nim": litellm_of("nvidia_nim"),
    "litellm jina_ai": litellm_of("jina_ai"),
    "litellm voyage": litellm_of("voyage", "/voyage/v1"),
    "litellm infinity": litellm_of("infinity", "/infinity"),
    "litellm hosted_vllm": litellm_of("hosted_vllm"),
    "litellm huggingface": litellm_of("huggingface", "/tei/{model}"),
    "cohere v1": cohere_v1,
    "cohere v2": cohere_v2,
    "voyageai": voyageai,
    "mixedbread": mixedbread_at("/mixedbread"),
    "mixedbread at the root": mixedbread_at(""),
    "dashscope": dashscope_sdk,
    "together": together_sdk,
    "xinference-client": xinference_client,
    "langchain-cohere": langchain(langchain_cohere),
    "langchain-nvidia-ai-endpoints": langchain(langchain_nvidia),
    "langchain-voyageai": langchain(langchain_voyageai),
    "llama-index cohere": llama_index(llama_index_cohere),
    "llama-index dashscope": llama_index(llama_index_dashscope),
    "llama-index jinaai": llama_index(llama_index_jina),
    "llama-index nvidia": llama_index(llama_index_nvidia),
    "llama-index tei": llama_index(llama_index_tei),
    "llama-index xinference": llama_index(llama_index_xinference),
    "llama-index siliconflow": llama_index(llama_index_siliconflow),
    "llama-index mixedbread": llama_index(llama_index_mixedbread),
    "haystack cohere": haystack(haystack_cohere),
    "haystack jina": haystack(haystack_jina),
    "haystack nvidia": haystack(haystack_nvidia),
}


SETS = {"rerank-clients": CLIENTS, "rerank-others": OTHERS}
"""The clients of each environment."""


def main(environment: str, url: str, open_url: str, key: str) -> None:
    """Call the gateway with each client of an environment."""
    case = Case(url, open_url, key, json.load(sys.stdin))
    outcomes = {name: _outcome(client, case) for name, client in SETS[environment].items()}
    sys.stdout.write("\n" + json.dumps(outcomes))


def _outcome(client: Callable[[Case], Pairs], case: Case) -> Any:
    try:
        return client(case)
    except Exception as error:  # noqa: BLE001  a client that fails must not hide the others
        return f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    main(*sys.argv[1:])
