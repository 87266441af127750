# %% [markdown]
# # LlamaIndex
#
# How to use a reranker in a LlamaIndex application: behind a retriever, in a query engine, and in a workflow; and how
# to observe it. The text is the language reference of Python, which is included in the package. The reranker is
# `local/lexical`, which matches words, so no key is needed. To use another model, change only the model string.
#
#     pip install 'anyrerank[demo,notebook]' pandas

# %% [markdown]
# ## Without a reranker
#
# An index over 641 nodes, and a retriever that returns 20 of them.

# %%
import pandas as pd
from llama_index.core import VectorStoreIndex

from anyrerank.demo import Lsa, passages
from anyrerank.demo.in_llama_index import LsaEmbedding, nodes

index = VectorStoreIndex(nodes(), embed_model=LsaEmbedding(Lsa([passage.text for passage in passages()])))
pd.set_option("display.max_colwidth", None)
question = "What does the else clause of a loop do?"
found = index.as_retriever(similarity_top_k=20).retrieve(question)


def table(scored):
    ranks = {node.node_id: rank for rank, node in enumerate(found, start=1)}
    rows = [
        {
            "retrieved at rank": ranks[node.node_id],
            "topic": node.metadata["topic"],
            "score": node.score,
            "passage": " ".join(node.text.split())[:90],
        }
        for node in scored
    ]
    return pd.DataFrame(rows, index=range(1, len(rows) + 1))


table(found[:3])

# %% [markdown]
# ## With a reranker
#
# `AnyRerank` is a node postprocessor. The engine retrieves 20 nodes, the reranker returns the best 3, and only these
# reach the language model. `MockLLM` takes the place of the language model and returns its prompt.

# %%
from llama_index.core.llms import MockLLM

from anyrerank.llama_index import AnyRerank

reranker = AnyRerank(model="local/lexical", top_n=3)
engine = index.as_query_engine(llm=MockLLM(), similarity_top_k=20, node_postprocessors=[reranker])
response = engine.query(question)
table(response.source_nodes)

# %% [markdown]
# `for` and `while` answer the question, and now both are in the top three. The prompt:

# %%
sent = str(response)
print(sent[:260], "...\n...", sent[-160:])

# %% [markdown]
# (The scores of `local/lexical` are small here because in a pipeline they are fused with the order of the retriever.
# Other models keep their own scores.)
#
# Without an engine, pass the nodes to the postprocessor. They are not changed; `keep_retrieval_score` adds the score of
# the retriever to the metadata of a copy.

# %%
keeping = AnyRerank(model="local/lexical", top_n=3, keep_retrieval_score=True)
for node in keeping.postprocess_nodes(found, query_str=question):
    print(f"{node.metadata['topic']:8}  now {node.score:.4f}, was {node.metadata['retrieval_score']:.3f}")

# %% [markdown]
# ## Which part of a node is reranked
#
# By default, the text with the metadata that is also embedded (`MetadataMode.EMBED`), because often only the title
# tells what a passage is about. Metadata counts towards the billed tokens. `MetadataMode.NONE` leaves it out, and
# `excluded_embed_metadata_keys` of a node leaves out single fields.

# %%
from llama_index.core.schema import MetadataMode, NodeWithScore, TextNode

manuals = {"Heron": "The default timeout is 30 seconds.", "Kestrel": "The default timeout is 60 seconds."}
chapters = [NodeWithScore(node=TextNode(text=text, metadata={"product": product})) for product, text in manuals.items()]
for mode in (MetadataMode.EMBED, MetadataMode.NONE):
    ranking = AnyRerank(model="local/lexical", metadata_mode=mode, fuse=None)
    for node in ranking.postprocess_nodes(chapters, query_str="default timeout of the Kestrel"):
        print(f"{mode.name:6} {node.score:.3f}  {node.metadata['product']:8} {node.text}")

# %% [markdown]
# ## Instrumentation
#
# Each rerank fires LlamaIndex's start and end events inside the span of the engine. The end event is a
# `RerankUsageEvent`, which holds the usage too. The price is made up, because `local/lexical` is free; list prices are
# built in for most models that cost something.

# %%
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events.rerank import ReRankStartEvent

from anyrerank.llama_index import RerankUsageEvent


class PrintReranks(BaseEventHandler):
    def handle(self, event, **_):
        if isinstance(event, ReRankStartEvent):
            print(f"start  {event.model_name}, {len(event.nodes)} nodes, top_n={event.top_n}")
        elif isinstance(event, RerankUsageEvent):
            print("end   ", [node.metadata["topic"] for node in event.nodes])
            shown = ("provider", "model", "attempts", "degraded", "total_cost")
            print("usage ", {name: event.usage[name] for name in shown})


watching = PrintReranks()
get_dispatcher().add_event_handler(watching)
priced = AnyRerank(model="local/lexical", top_n=3, input_cost_per_query=0.002)
answer = index.as_query_engine(llm=MockLLM(), similarity_top_k=20, node_postprocessors=[priced]).query(question)
get_dispatcher().event_handlers.remove(watching)

# %% [markdown]
# ## End users
#
# An engine has no argument for an end user, so set it around the call. Hooks receive it, and budgets and the ledger use
# it (see the notebook on production). A hook is a function that is called with an event after each call:

# %%
from anyrerank import using_attributes
from anyrerank.hooks import CallEvent


def print_call(event: CallEvent):
    print(f"{event.user}: {len(event.documents)} documents, tags {event.metadata.get('tags')}, error {event.error}")


watched = AnyRerank(model="local/lexical", top_n=3, hooks=[print_call])
with using_attributes(user="ann", metadata={"tags": ["search"]}):
    answer = index.as_query_engine(llm=MockLLM(), similarity_top_k=20, node_postprocessors=[watched]).query(question)

# %% [markdown]
# ## Async
#
# With `aquery` the reranker does not block the event loop, so several questions can run concurrently.

# %%
import asyncio

from anyrerank.demo import QUESTIONS

answers = await asyncio.gather(*(engine.aquery(each.text) for each in QUESTIONS))
pd.DataFrame(
    {
        "question": [each.text for each in QUESTIONS],
        "topics of the top three": [
            ", ".join(node.metadata["topic"] for node in answer.source_nodes) for answer in answers
        ],
        "answered by": [" or ".join(sorted(each.answered_by)) for each in QUESTIONS],
    }
)

# %% [markdown]
# The last question is a paraphrase: its answer is among the 20 candidates, and lexical matching does not put it into
# the top three. The last cell asks a trained model, if there is a key.
#
# ## In a workflow
#
# Reranking can be a separate step.

# %%
from llama_index.core.workflow import Event, StartEvent, StopEvent, Workflow, step


class Retrieved(Event):
    question: str
    nodes: list[NodeWithScore]


class RetrieveAndRerank(Workflow):
    @step
    async def retrieve(self, event: StartEvent) -> Retrieved:
        nodes = await index.as_retriever(similarity_top_k=20).aretrieve(event.question)
        return Retrieved(question=event.question, nodes=nodes)

    @step
    async def rerank(self, event: Retrieved) -> StopEvent:
        return StopEvent(result=await reranker.apostprocess_nodes(event.nodes, query_str=event.question))


ranked = await RetrieveAndRerank().run(question=question)
print(
    "same nodes as the engine:", [node.node_id for node in ranked] == [node.node_id for node in response.source_nodes]
)

# %% [markdown]
# ## When the provider fails
#
# In this example nothing listens on the port. The engine gets an error, or the answer of a fallback. The notebook on
# production shows more; `on_error="passthrough"` would return the nodes in the order of the retriever.

# %%
import logging

from anyrerank import RerankError

logging.getLogger("anyrerank").addHandler(logging.NullHandler())  # failed calls are also logged as warnings
unreachable = {"model": "nvidia_nim/ranking/mine", "api_base": "http://127.0.0.1:9", "max_retries": 0, "top_n": 2}
try:
    AnyRerank(**unreachable).postprocess_nodes(found, query_str=question)
except RerankError as error:
    print(f"{type(error).__name__} of {error.provider} at {error.url}")
ranked = AnyRerank(**unreachable, fallbacks=["local/lexical"]).postprocess_nodes(found, query_str=question)
print([node.metadata["topic"] for node in ranked])

# %% [markdown]
# ## Serialisation
#
# `to_dict` contains the options without the key, which is read from the environment again.

# %%
written = AnyRerank(model="cohere/rerank-v3.5", top_n=3, api_key="a-secret-key").to_dict()
print("contains the key:", "a-secret-key" in str(written))
again = AnyRerank.from_dict(written)
print(again.model, again.top_n)

# %% [markdown]
# ## A real provider
#
# The same engine with a trained model. The key comes from the environment.

# %%
import os

MODELS = {
    "NVIDIA_NIM_API_KEY": "nvidia_nim/nvidia/llama-nemotron-rerank-1b-v2",
    "NVIDIA_API_KEY": "nvidia_nim/nvidia/llama-nemotron-rerank-1b-v2",
    "COHERE_API_KEY": "cohere/rerank-v3.5",
    "VOYAGE_API_KEY": "voyage/rerank-2.5",
}
model = next((model for key, model in MODELS.items() if os.environ.get(key)), None)
if model is None:
    print("No API key found. Set one of", ", ".join(MODELS), "and run this cell again.")
else:
    real = index.as_query_engine(
        llm=MockLLM(), similarity_top_k=20, node_postprocessors=[AnyRerank(model=model, top_n=3)]
    )
    print(model, [node.metadata["topic"] for node in real.query(QUESTIONS[-1].text).source_nodes])
