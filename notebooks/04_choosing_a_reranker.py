# %% [markdown]
# # Choosing a reranker
#
# Which reranker is best depends on your questions and your documents. This notebook measures it: quality with an
# interval, latency and price, for any rerankers, on labelled queries. It needs no key; one cell below takes a real
# provider in when there is one.
#
#     pip install 'anyrerank[demo,evaluation,notebook]'

# %% [markdown]
# ## Data
#
# A small labelled set ships with the package: 120 passages, 60 queries, and the candidates that a first stage found for
# each. It can tell working from broken. It is far too small to tell one good reranker from another: for that, use your
# own (below).

# %%
from anyrerank.evaluation import compare, demo_set

data = demo_set()
data

# %% [markdown]
# ## Comparing
#
# Two rerankers that need nothing: words and parts of words, and the same fused with the order in which the candidates
# came. Number and price of the calls are said before the first one; a call that fails is counted and shown, never left
# out.

# %%
from anyrerank import Reranker

rerankers = {
    "words": "local/lexical",
    "words + order": Reranker("local/lexical", fuse="rrf"),
}
report = compare(rerankers, data)
report

# %% [markdown]
# How to read it:
#
# - `oracle` knows the labels: what the first stage did not find, no reranker brings back. `random` is the floor.
# - *against first_stage* is the question that matters: is it better than doing nothing? Where the interval holds 0 the
#   answer is that nobody knows yet, and it says so.
# - `judged@10` is the part of the first ten results that anybody has labelled. A low one flatters the first stage.
#
# Running the cell again is free: what was asked is kept (in a file with `cache=SQLiteCache("compare.db")`).

# %%
again = compare(rerankers, data)
print("the same:", again.rows == report.rows)

# %% [markdown]
# Quality against latency, with the price as the size of the dot. Up and to the left is better. Here both are as good as
# the first stage, and far below the oracle: words are a floor to start from.

# %%
_ = report.plot()
# %% [markdown]
# ## Why
#
# Numbers say that something is lost; `losses` says where. Green rows answer the query.

# %%
report.losses("words", most=2)

# %% [markdown]
# One query, candidate by candidate:

# %%
(worst, *_) = report.losses("words", most=1)
_ = report.plot_ranks(worst.query)
# %% [markdown]
# ## Does it lean on the order of the candidates?
#
# A reranker should find the same documents however the list was sorted. `shuffle=True` hands the candidates over in an
# order of chance; one that leans on it falls.

# %%
shuffled = compare(rerankers, data, shuffle=True)
for name in rerankers:
    before, after = (each.rows[name].means["nDCG@10"] for each in (report, shuffled))
    print(f"{name:14} {before:.3f} as they came, {after:.3f} shuffled")

# %% [markdown]
# ## A real provider
#
# With a key in the environment this cell asks one, for some cents at most: `budget_usd` stops it before it starts when
# it would cost more. Without a key it changes nothing.

# %%
import os

providers = {
    "COHERE_API_KEY": "cohere/rerank-v3.5",
    "JINA_API_KEY": "jina_ai/jina-reranker-v2-base-multilingual",
    "NVIDIA_NIM_API_KEY": "nvidia_nim/nvidia/llama-nemotron-rerank-1b-v2",
    "VOYAGE_API_KEY": "voyage/rerank-2.5",
}
models = [model for variable, model in providers.items() if os.environ.get(variable)]
priced = [model for model in models if not model.startswith("nvidia_nim")]  # whose price nobody publishes
budget = 0.5 if priced == models else None
everything = {**rerankers, **{model: model for model in models}}
compare(everything, data, budget_usd=budget) if models else "no key, so no provider was asked"

# %% [markdown]
# ## Without labels
#
# Where two rerankers agree there is little to choose; where they do not, labels tell most. `collect` asks without
# labels, `agreement` compares, and `label` puts both side by side in a widget, without their names, and saves what you
# say as labels that `compare` reads.

# %%
from anyrerank.evaluation import agreement, collect

unlabelled = collect(rerankers, data)
agreement(unlabelled)

# %%
from tempfile import TemporaryDirectory

from anyrerank.evaluation import label

folder = TemporaryDirectory()
widget = label(data, unlabelled, f"{folder.name}/mine.tsv", k=3)  # show it with: widget
print(type(widget).__name__, "of", len(data.queries), "queries")

# %% [markdown]
# ## Your own data
#
# `from_beir(folder)` reads BEIR's files, `from_pandas(frame)` a frame with a row for each candidate,
# `from_langchain(retriever, questions)` and `from_llama_index(dataset, retriever)` what a retriever finds, `read_run`
# and `read_labels` TREC's files.

# %%
import pandas as pd

from anyrerank.evaluation import from_pandas

frame = pd.DataFrame(
    [
        ("How do I cancel?", "Invoices are sent by e-mail.", 0),
        ("How do I cancel?", "To cancel, open Settings, then Billing.", 1),
        ("Is there a refund?", "Refunds are paid within 30 days.", 1),
        ("Is there a refund?", "To cancel, open Settings, then Billing.", 0),
    ],
    columns=["query", "document", "label"],
)
compare({"words": "local/lexical"}, from_pandas(frame, name="support"), k=2)

# %% [markdown]
# In CI, `report.assert_better("new", than="old")` fails unless it is better by more than chance, and the shell has the
# same: `anyrerank compare cohere/rerank-v3.5 local/lexical --html report.html`.

# %%
try:
    report.assert_better("words")
except AssertionError as error:
    print(error)
folder.cleanup()
