# %% [markdown]
# # LangChain
#
# How to use a reranker in a LangChain application: behind a retriever, in a chain, and in an agent's tool; and how to
# trace it. The text is the language reference of Python, which is included in the package. The reranker is
# `local/lexical`, which matches words, so no key is needed. To use another model, change only the model string.
#
#     pip install 'anyrerank[demo,notebook]' langchain-classic pandas

# %% [markdown]
# ## Without a reranker
#
# A vector store with 623 passages, and a retriever that returns 20 of them.

# %%
import pandas as pd

from anyrerank.demo import Lsa, passages
from anyrerank.demo.in_langchain import format_documents, vector_store

retriever = vector_store(Lsa([passage.text for passage in passages()])).as_retriever(search_kwargs={"k": 20})
pd.set_option("display.max_colwidth", None)
question = "What does an assert statement do when Python runs with -O?"
found = retriever.invoke(question)


def table(documents):
    ranks = {document.id: rank for rank, document in enumerate(found, start=1)}
    rows = [
        {
            "retrieved at rank": ranks[document.id],
            "topic": document.metadata["topic"],
            "score": document.metadata.get("relevance_score"),
            "passage": " ".join(document.page_content.split())[:90],
        }
        for document in documents
    ]
    return pd.DataFrame(rows, index=range(1, len(rows) + 1)).dropna(axis="columns")


table(found[:3])

# %% [markdown]
# ## With a reranker
#
# `RerankRetriever` is a `BaseRetriever` that wraps your retriever. The passage that explains `-O` was at rank 11, so a
# language model that gets three passages would have missed it.

# %%
from anyrerank.langchain import AnyRerank, RerankRetriever

reranker = AnyRerank(model="local/lexical", top_n=3)
reranked = RerankRetriever(base_retriever=retriever, reranker=reranker)
table(reranked.invoke(question))

# %% [markdown]
# The score is in `metadata["relevance_score"]` of a copy; the documents in the store are not changed. `top_n` can be
# set for a single call. (The scores of `local/lexical` are small here because in a pipeline they are fused with the
# order of the retriever. Other models keep their own scores.)

# %%
for document in reranked.invoke(question, top_n=2):
    print(f"{document.metadata['relevance_score']:.4f}  {document.metadata['topic']}")
print("in the store:", found[0].metadata)

# %% [markdown]
# If your application uses a `ContextualCompressionRetriever`, change only its `base_compressor`:

# %%
from langchain_classic.retrievers import ContextualCompressionRetriever

compressing = ContextualCompressionRetriever(base_compressor=reranker, base_retriever=retriever)
print("same documents:", compressing.invoke(question) == reranked.invoke(question))

# %% [markdown]
# ## In a chain
#
# `as_runnable()` takes `{"query": ..., "documents": ...}`, for chains with their own retrieval. `top_n` can be made
# configurable, like any field of a runnable.

# %%
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import ConfigurableField, RunnablePassthrough

best = reranker.as_runnable().configurable_fields(top_n=ConfigurableField(id="passages"))
prompt = ChatPromptTemplate.from_template("Answer only from these passages.\n\n{context}\n\nQuestion: {question}")
chain = {
    "context": {"query": RunnablePassthrough(), "documents": retriever} | best | format_documents,
    "question": RunnablePassthrough(),
} | prompt  # | your model
print(chain.invoke(question, {"configurable": {"passages": 1}}).to_messages()[0].content)

# %% [markdown]
# ## As a tool of an agent
#
# `RerankRetriever` is a retriever, so LangChain can turn it into a tool. An agent calls it with these arguments:

# %%
from langchain_core.tools import create_retriever_tool

tool = create_retriever_tool(reranked, "python_reference", "Passages of Python's language reference for a question.")
print(tool.args)
print(tool.invoke({"query": "Can a lambda contain a statement?"})[:320], "...")

# %% [markdown]
# ## Tracing
#
# Each rerank is a child run of its caller, so LangSmith and other tracers show it with its documents and its `usage`.
# This tracer prints the tree of runs. The price is made up, because `local/lexical` is free; list prices are built in
# for most models that cost something.

# %%
from langchain_core.tracers.base import BaseTracer


class PrintTree(BaseTracer):
    def _persist_run(self, run):
        self.show(run)

    def show(self, run, depth=0):
        usage = (run.outputs or {}).get("usage") if isinstance(run.outputs, dict) else None
        print("  " * depth + f"{run.run_type}: {run.name}")
        if usage:
            shown = {name: usage[name] for name in ("provider", "model", "attempts", "degraded", "total_cost")}
            print("  " * depth + f"  usage: {shown}")
        for child in run.child_runs:
            self.show(child, depth + 1)


priced = AnyRerank(model="local/lexical", top_n=3, input_cost_per_query=0.002)
traced = RerankRetriever(base_retriever=retriever, reranker=priced)
answer = ({"context": traced | format_documents, "question": RunnablePassthrough()} | prompt).invoke(
    question, {"callbacks": [PrintTree()]}
)

# %% [markdown]
# Traces contain texts, as for LangChain's own runs. With `AnyRerank(trace_content=False)` they contain only ids and
# lengths.
#
# ## End users
#
# The end user is the `user_id` in the metadata of the run. Hooks receive it, and budgets and the ledger use it (see the
# notebook on production). A hook is a function that is called with an event after each call:

# %%
from anyrerank.hooks import CallEvent


def print_call(event: CallEvent):
    print(f"{event.user}: {len(event.documents)} documents, tags {event.metadata.get('tags')}, error {event.error}")


watched = RerankRetriever(
    base_retriever=retriever, reranker=AnyRerank(model="local/lexical", top_n=3, hooks=[print_call])
)
documents = watched.invoke(question, {"metadata": {"user_id": "ann"}})

# %% [markdown]
# If you cannot set the metadata of the run, set the user around the call:

# %%
from anyrerank import using_attributes

with using_attributes(user="bob", metadata={"tags": ["search"]}):
    documents = watched.invoke(question)

# %% [markdown]
# ## Async
#
# With `ainvoke`, `abatch` and `astream`, the reranker does not block the event loop.

# %%
from anyrerank.demo import QUESTIONS

questions = [each.text for each in QUESTIONS]
answers = await reranked.abatch(questions)
pd.DataFrame(
    {
        "question": questions,
        "topics of the top three": [", ".join(document.metadata["topic"] for document in top) for top in answers],
        "answered by": [" or ".join(sorted(each.answered_by)) for each in QUESTIONS],
    }
)

# %% [markdown]
# The last question is a paraphrase: its answer is among the 20 candidates, and lexical matching does not put it into
# the top three. The last cell asks a trained model, if there is a key.
#
# ## When the provider fails
#
# In this example nothing listens on the port. The chain gets an error, or the answer of a fallback. The notebook on
# production shows more; `on_error="passthrough"` would return the documents in the order of the retriever.

# %%
import logging

from anyrerank import RerankError

logging.getLogger("anyrerank").addHandler(logging.NullHandler())  # failed calls are also logged as warnings
unreachable = {"model": "nvidia_nim/ranking/mine", "api_base": "http://127.0.0.1:9", "max_retries": 0, "top_n": 2}
try:
    AnyRerank(**unreachable).compress_documents(found, question)
except RerankError as error:
    print(f"{type(error).__name__} of {error.provider} at {error.url}")
ranked = AnyRerank(**unreachable, fallbacks=["local/lexical"]).compress_documents(found, question)
print([document.metadata["topic"] for document in ranked])

# %% [markdown]
# ## Serialisation
#
# `dumps` serialises a reranker as LangChain's JSON, with the name of the environment variable in place of the key.

# %%
import json
import warnings

from langchain_core.load import dumps, loads

warnings.filterwarnings("ignore", message="The function `loads` is in beta")  # LangChain warns about it

compressor = AnyRerank(model="cohere/rerank-v3.5", top_n=3, api_key="a-secret-key")
text = dumps(compressor)
print("contains the key:", "a-secret-key" in text)
print(json.dumps(json.loads(text)["kwargs"]["api_key"]))
again = loads(
    text, allowed_objects=[AnyRerank], valid_namespaces=["anyrerank"], secrets_map={"COHERE_API_KEY": "another-key"}
)
print(again.model, again.top_n)

# %% [markdown]
# ## A real provider
#
# The same retriever with a trained model. The key comes from the environment.

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
    wanted = QUESTIONS[-1].answered_by
    ranks = [rank for rank, each in enumerate(retriever.invoke(questions[-1]), 1) if each.metadata["topic"] in wanted]
    print("topic", *wanted, "is among the candidates at rank", ranks[0])
    real = RerankRetriever(base_retriever=retriever, reranker=AnyRerank(model=model, top_n=3))
    print(model, [document.metadata["topic"] for document in real.invoke(questions[-1])])
