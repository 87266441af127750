# %% [markdown]
# # In LangChain
#
# Where a reranker goes in a LangChain application: behind a retriever, in a chain, in an agent's tool; and what can be
# seen of it from outside. The text is the language reference of Python, which comes with the package; the vector store
# is LangChain's own. The reranker is `local/lexical`, which counts shared words, so that no key is needed. With another
# model string everything below stays as it is.
#
#     pip install 'anyrerank[demo,notebook]' langchain-classic pandas

# %% [markdown]
# ## Before
#
# A vector store with 623 passages, and a retriever that finds 20 of them.

# %%
import pandas as pd

from anyrerank.demo.corpus import passages
from anyrerank.demo.embedding import Lsa
from anyrerank.demo.in_langchain import joined, store

retriever = store(Lsa([passage.text for passage in passages()])).as_retriever(search_kwargs={"k": 20})
pd.set_option("display.max_colwidth", None)
question = "What does an assert statement do when Python runs with -O?"
found = retriever.invoke(question)


def table(documents):
    places = {document.id: place for place, document in enumerate(found, start=1)}
    rows = [
        {
            "retrieved as": places[document.id],
            "topic": document.metadata["topic"],
            "score": document.metadata.get("relevance_score"),
            "passage": " ".join(document.page_content.split())[:90],
        }
        for document in documents
    ]
    return pd.DataFrame(rows, index=range(1, len(rows) + 1)).dropna(axis="columns")


table(found[:3])

# %% [markdown]
# ## After
#
# `RerankRetriever` is a `BaseRetriever`: put it where the retriever was. The passage that explains `-O` had been the
# eleventh, and would not have reached a model that is given three.

# %%
from anyrerank.langchain import AnyRerank, RerankRetriever

reranker = AnyRerank(model="local/lexical", top_n=3)
reranked = RerankRetriever(base_retriever=retriever, reranker=reranker)
table(reranked.invoke(question))

# %% [markdown]
# The score is in `metadata["relevance_score"]` of copies: the documents of the store stay as they are. `top_n` can be
# said for one call. (Scores of `local/lexical` are small here because in a pipeline they are fused with the retriever's
# order; those of every other model come as the model gave them.)

# %%
for document in reranked.invoke(question, top_n=2):
    print(f"{document.metadata['relevance_score']:.4f}  {document.metadata['topic']}")
print("in the store:", found[0].metadata)

# %% [markdown]
# If the application has a `ContextualCompressionRetriever`, change its `base_compressor` and nothing else:

# %%
from langchain_classic.retrievers import ContextualCompressionRetriever

compressing = ContextualCompressionRetriever(base_compressor=reranker, base_retriever=retriever)
print("the same:", compressing.invoke(question) == reranked.invoke(question))

# %% [markdown]
# ## In a chain
#
# `as_runnable()` takes `{"query": ..., "documents": ...}`, for chains that retrieve in a way of their own. `top_n` can
# be made configurable, as any field of a runnable can.

# %%
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import ConfigurableField, RunnablePassthrough

best = reranker.as_runnable().configurable_fields(top_n=ConfigurableField(id="passages"))
prompt = ChatPromptTemplate.from_template("Answer from these passages alone.\n\n{context}\n\nQuestion: {question}")
chain = {
    "context": {"query": RunnablePassthrough(), "documents": retriever} | best | joined,
    "question": RunnablePassthrough(),
} | prompt  # | your model
print(chain.invoke(question, {"configurable": {"passages": 1}}).to_messages()[0].content)

# %% [markdown]
# ## As a tool of an agent
#
# The reranked retriever is a retriever, so LangChain makes a tool of it. An agent would call it with these arguments.

# %%
from langchain_core.tools import create_retriever_tool

tool = create_retriever_tool(reranked, "python_reference", "Passages of Python's language reference for a question.")
print(tool.args)
print(tool.invoke({"query": "Can a lambda contain a statement?"})[:320], "...")

# %% [markdown]
# ## What a trace shows
#
# Each rerank is a run of its own under the one that asked for it, so LangSmith and every other tracer show it with its
# documents, and what it used as `usage`. This tracer prints the tree. The price is invented, to have one to show:
# `local/lexical` is free. Of most models that are billed the list price is known.

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
answer = ({"context": traced | joined, "question": RunnablePassthrough()} | prompt).invoke(
    question, {"callbacks": [PrintTree()]}
)

# %% [markdown]
# Texts are in the trace, as they are for LangChain's own runs. `AnyRerank(trace_content=False)` leaves ids and lengths.
#
# ## Who asked
#
# The end user is the `user_id` in the metadata of the run. Every call reports it to its hooks, and budgets and the
# ledger count by it (see the notebook on production). A hook is a function that gets each call when it is over:

# %%
from anyrerank.hooks import CallEvent


def tell(event: CallEvent):
    print(f"{event.user}: {len(event.documents)} documents, tags {event.metadata.get('tags')}, error {event.error}")


watched = RerankRetriever(base_retriever=retriever, reranker=AnyRerank(model="local/lexical", top_n=3, hooks=[tell]))
documents = watched.invoke(question, {"metadata": {"user_id": "ann"}})

# %% [markdown]
# Where the run's metadata is out of reach, say it around the call:

# %%
from anyrerank import using_attributes

with using_attributes(user="bob", metadata={"tags": ["search"]}):
    documents = watched.invoke(question)

# %% [markdown]
# ## Asynchronously
#
# With `ainvoke`, `abatch` and `astream` the reranker never blocks the event loop.

# %%
from anyrerank.demo.questions import QUESTIONS

questions = [asked.text for asked in QUESTIONS]
answers = await reranked.abatch(questions)
pd.DataFrame(
    {
        "question": questions,
        "topics of the best three": [", ".join(each.metadata["topic"] for each in best) for best in answers],
        "answered by": [" or ".join(sorted(asked.answered_by)) for asked in QUESTIONS],
    }
)

# %% [markdown]
# The last one asks for what the text says in other words, which no counting of words finds. Try it with a trained model
# in the last cell.
#
# ## When the provider fails
#
# A chain gets one clear error, or what another model says: here nothing listens on the port. The notebook on production
# shows more of this; `on_error="passthrough"` would hand back what the retriever found, marked as degraded.

# %%
from anyrerank import RerankError

unreachable = {"model": "nvidia_nim/ranking/mine", "api_base": "http://127.0.0.1:9", "max_retries": 0, "top_n": 2}
try:
    AnyRerank(**unreachable).compress_documents(found, question)
except RerankError as error:
    print(f"{type(error).__name__} of {error.provider} at {error.url}")
ranked = AnyRerank(**unreachable, fallbacks=["local/lexical"]).compress_documents(found, question)
print([document.metadata["topic"] for document in ranked])

# %% [markdown]
# ## Written down
#
# `dumps` writes a reranker as LangChain's JSON, with the name of the key's variable in place of the key.

# %%
import json
import warnings

from langchain_core.load import dumps, loads

warnings.filterwarnings("ignore", message="The function `loads` is in beta")  # says LangChain of it

compressor = AnyRerank(model="cohere/rerank-v3.5", top_n=3, api_key="a-key-that-nobody-sees")
text = dumps(compressor)
print("the key is in it:", "nobody-sees" in text)
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
    print("No key here. Set one of", ", ".join(MODELS), "and run this cell again.")
else:
    real = RerankRetriever(base_retriever=retriever, reranker=AnyRerank(model=model, top_n=3))
    print(model, [document.metadata["topic"] for document in real.invoke(questions[-1])])
