# %% [markdown]
# # In production
#
# Several deployments under one name, and what is asked when they fail; a cache; budgets; guardrails; who spent what;
# what can be watched. All of it works alike with `Reranker`, `Router`, and the adapters for LangChain and LlamaIndex.
#
#     pip install 'anyrerank[notebook,langchain,cache,ledger,otel]' opentelemetry-sdk pandas matplotlib

# %% [markdown]
# ## Stand-ins
#
# Three servers on this machine that speak Cohere's dialect and count shared words. They are no models: one is healthy,
# one fails every second time, one is slow. The prices below are invented, too.

# %%
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.queries.append(body["query"])
        time.sleep(self.server.seconds)
        failed = self.server.down or (self.server.flaky and len(self.server.queries) % 2 == 1)
        asked = set(body["query"].lower().split())
        scores = [len(asked & set(text.lower().split())) / len(asked) for text in body["documents"]]
        results = [{"index": index, "relevance_score": score} for index, score in enumerate(scores)]
        answer = {"results": results, "meta": {"billed_units": {"search_units": 1}}}
        content = json.dumps({"message": "overloaded"} if failed else answer).encode()
        self.send_response(503 if failed else 200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        """Not in the notebook."""


class StandIn(ThreadingHTTPServer):
    def __init__(self, *, seconds=0.0, flaky=False):
        super().__init__(("127.0.0.1", 0), Handler)
        self.seconds, self.flaky, self.down, self.queries = seconds, flaky, False, []
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, daemon=True).start()


servers = {"healthy": StandIn(), "flaky": StandIn(flaky=True), "slow": StandIn(seconds=0.02)}

# %% [markdown]
# ## What the log says
#
# Every call is a record of the logger `anyrerank` at INFO, with all that is known of it as `record.anyrerank`, and
# without query and documents. Calls that failed, and deployments that cool down, are warnings. Here all of them are
# kept in a list.

# %%
import logging

records = []


class Kept(logging.Handler):
    def emit(self, record):
        records.append(record)


logging.getLogger("anyrerank").addHandler(Kept())
logging.getLogger("anyrerank").setLevel(logging.INFO)

# %% [markdown]
# ## A router
#
# `model_list` has LiteLLM's form; `Router.from_config("config.yaml")` reads its whole file. Half of the calls should go
# to the healthy one. `chance` and `clock` are parameters for tests: numbers that are spread evenly make this notebook
# come out alike each time, and a clock that is ahead lets a minute pass without waiting for it.

# %%
import itertools

from anyrerank import Router

WEIGHTS = {"healthy": 2, "flaky": 1, "slow": 1}
COSTS = {"healthy": 0.002, "flaky": 0.001, "slow": 0.0005}  # dollars for a request
model_list = [
    {
        "model_name": "rerank",
        "litellm_params": {
            "model": f"cohere_compatible/{name}",
            "api_base": server.url,
            "weight": WEIGHTS[name],
            "input_cost_per_query": COSTS[name],
        },
        "model_info": {"id": name},
    }
    for name, server in servers.items()
]
chance = (0.618034 * number % 1 for number in itertools.count()).__next__
minutes = 0
router = Router(
    model_list,
    allowed_fails=9,  # failures in a minute that are borne
    cooldown_time=50,  # seconds for which one that fails more often is left alone
    chance=chance,
    clock=lambda: time.monotonic() + 60 * minutes,
)
query = "which planet is red"
documents = ["Venus is hot.", "Mars is the red planet.", "Goethe wrote Faust."]
response = router.rerank("rerank", query, documents, top_n=1)
print(response.model, response.cost, [result.document["text"] for result in response.results])

# %% [markdown]
# Now 300 calls. What fails is tried elsewhere at once, so no call fails; after its tenth failure in a minute the flaky
# one cools down. After call 200 a minute passes: it is tried again, and does no better.

# %%
answered, failed = [], []
for number in range(300):
    minutes = 0 if number < 200 else 1
    for attempt in router.rerank("rerank", query, documents).attempts:
        (failed if attempt.error else answered).append((number, attempt.model_id))
print(len(answered), "calls were answered;", len(failed), "tries failed, all of them at", {name for _, name in failed})

# %%
import matplotlib.pyplot as plt
import pandas as pd

figure, axes = plt.subplots(figsize=(8, 2.4))
places = {name: place for place, name in enumerate(reversed(list(servers)))}
for tries, look in ((answered, {"marker": "|", "s": 180}), (failed, {"marker": "x", "color": "crimson"})):
    axes.scatter([number for number, _ in tries], [places[name] for _, name in tries], **look)
axes.axvline(199.5, color="grey", linestyle=":")
axes.annotate("a minute later", (201, 2.4), fontsize=8)
axes.set(yticks=list(places.values()), yticklabels=list(places), ylim=(-0.6, 2.8), xlabel="call")
axes.set_title("where calls were answered (|) and failed (x)", fontsize=10)
plt.show()

# %% [markdown]
# Shares of the calls before the flaky one was left alone (it answers half of what it gets) and after, and how the
# router sees its deployments now:

# %%
last = max(number for number, _ in failed if number < 200)
shares = pd.DataFrame(
    {
        "weight": pd.Series(WEIGHTS) / sum(WEIGHTS.values()),
        "until it cooled down": pd.Series([name for number, name in answered if number <= last]).value_counts(
            normalize=True
        ),
        "while it did": pd.Series([name for number, name in answered if last < number < 200]).value_counts(
            normalize=True
        ),
    }
).reindex(list(servers))
shares.fillna(0).map("{:.0%}".format)

# %%
pd.DataFrame(router.standings()).drop(columns="tokens").round(1)

# %% [markdown]
# The log has one warning for each time that it cooled down, and a record for each call; as JSON, the last one is:

# %%
for record in records:
    if record.levelno == logging.WARNING:
        print(record.levelname, record.getMessage())
known = {**records[-1].anyrerank, "seconds": "...", "attempts": "..."}
print(json.dumps(known, indent=1))

# %% [markdown]
# ## Strategies
#
# By weight is only one of them. The same calls, by what is fastest and by what is cheapest:

# %%
counted = {}
for strategy in ("simple-shuffle", "latency-based-routing", "cost-based-routing"):
    chosen = [each for each in model_list if each["model_info"]["id"] != "flaky"]
    with Router(chosen, routing_strategy=strategy, chance=chance) as strategic:
        asked = [strategic.rerank("rerank", query, documents).model for _ in range(20)]
    counted[strategy] = pd.Series(asked).value_counts()
pd.DataFrame(counted).fillna(0).astype(int)

# %% [markdown]
# ## When everything fails
#
# A name can have fallbacks to other names. When those fail too, there is one error that holds every attempt.

# %%
from anyrerank import FallbackError

for server in servers.values():
    server.down = True
spare = {"model_name": "spare", "litellm_params": {"model": "local/lexical"}, "model_info": {"id": "lexical"}}
safe = Router([*model_list, spare], fallbacks=[{"rerank": ["spare"]}], chance=chance)
response = safe.rerank("rerank", query, documents)
print("answered by", f"{response.provider}/{response.model}")
print([(attempt.model_id, attempt.status, attempt.error) for attempt in response.attempts])
try:
    safe.rerank("rerank", query, documents, fallbacks=None)
except FallbackError as error:
    print(
        f"{type(error).__name__} after {len(error.attempts)} attempts: {[type(each).__name__ for each in error.errors]}"
    )
for server in servers.values():
    server.down = False

# %% [markdown]
# ## A cache
#
# It keeps the score of each pair of query and document, so a call that shares 90 of 100 documents with an earlier one
# sends ten. Each model has scores of its own. (`SQLiteCache("scores.db")` keeps them in a file that several processes
# share.)

# %%
from anyrerank import MemoryCache, Reranker

healthy = {
    "model": "cohere_compatible/healthy",
    "api_base": servers["healthy"].url,
    "input_cost_per_query": 0.002,
}
planets = [f"Planet {number} is red." for number in range(110)]
caching = Reranker(**healthy, cache=MemoryCache())
rows = []
for what, asked in {"100": planets[:100], "90 of them, 10 new": planets[10:], "the same": planets[10:]}.items():
    response = caching.rerank(query, asked)
    rows.append({"documents": what, "cached": response.cached, "cost": response.cost, "saved": response.saved})
pd.DataFrame(rows)

# %% [markdown]
# ## Budgets
#
# What a call will cost is estimated and set aside before it is sent; what is not there is not spent. This budget is for
# each end user, and for ever; `Budget(0.50, "1d")` is for a day.

# %%
from anyrerank import Budget, BudgetExceededError

thrifty = Reranker(**healthy, user_budget=Budget(0.005))
for user in ("ann", "ann", "ann", "bob"):
    try:
        print(user, thrifty.rerank(query, documents, user=user).cost)
    except BudgetExceededError as error:
        print(user, f"{type(error).__name__}: {error.message}")

# %% [markdown]
# ## Guardrails
#
# They look at a query before it is sent or logged, and change it or refuse it. A function of your own will do; one that
# fails blocks. What the server saw:

# %%
from anyrerank import GuardrailRaisedError
from anyrerank.guardrails import DenyList, Mask

guarded = Reranker(**healthy, guardrails=[DenyList(["project x"]), Mask({r"\bACC-\d+": "<ACCOUNT>"})])
guarded.rerank("Which planet does ACC-12345 pay for?", documents)
print(servers["healthy"].queries[-1])
try:
    guarded.rerank("Which planet is Project X about?", documents)
except GuardrailRaisedError as error:
    print(f"{type(error).__name__}: {error.message}")
print(servers["healthy"].queries[-1])

# %% [markdown]
# ## Who spent it
#
# The ledger is a hook: a function that gets each call when it is over. It writes to an SQLite file, or to any database
# that SQLAlchemy knows, off the path of the call. Users and tags are said around a chain or an engine; in LangChain the
# metadata of a run will do.

# %%
import tempfile
from pathlib import Path

from langchain_core.documents import Document

from anyrerank import using_attributes
from anyrerank.langchain import AnyRerank
from anyrerank.ledger import Ledger

found = [Document(page_content=text) for text in documents]
with tempfile.TemporaryDirectory() as folder, Ledger(Path(folder) / "spend.db") as ledger:
    paying = Router(model_list, cache=MemoryCache(), hooks=[ledger], chance=chance)
    compressor = AnyRerank(reranker=paying)  # the router, behind an adapter
    for user, tag, questions in (("ann", "search", 8), ("bob", "search", 4), ("bob", "chat", 12)):
        with using_attributes(user=user, metadata={"tags": [tag]}):
            for number in range(questions):
                await compressor.acompress_documents(found, f"which planet is number {number}")
    spent = ledger.spend(by=("user", "tag"))
    print(f"total: ${ledger.total():.4f}")

# %%
COLUMNS = ("calls", "requests", "failures", "cost", "saved")
rows = [{**each.group, **{name: getattr(each, name) for name in COLUMNS}} for each in spent]
pd.DataFrame(rows).set_index(["user", "tag"]).round(4)

# %% [markdown]
# `spend` groups by model, deployment, provider and day as well, and takes a time and a filter; `anyrerank spend` shows
# the same on the command line.
#
# ## OpenTelemetry
#
# Another hook: a span for each call with one for each try, and metrics, in the words of the GenAI conventions. Without
# arguments it uses the global providers; here spans are kept in memory. Query and documents stay out unless
# `content=True`.

# %%
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from anyrerank.telemetry import OpenTelemetry

exporter = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
servers["healthy"].down = True
with Reranker(
    **healthy, max_retries=0, fallbacks=["local/lexical"], hooks=[OpenTelemetry(tracer_provider=provider)]
) as watched:
    response = watched.rerank(query, documents, user="ann", top_n=1)
servers["healthy"].down = False
SHOWN = ("gen_ai.request.model", "http.response.status_code", "error.type", "user.id")
rows = [
    {
        "span": span.name,
        "inside": "call" if span.parent else "",
        "ms": (span.end_time - span.start_time) / 1e6,
        **{name: span.attributes.get(name, "") for name in SHOWN},
    }
    for span in exporter.get_finished_spans()
]
pd.DataFrame(rows).round(1)

# %% [markdown]
# ## Real deployments
#
# The same with models whose keys are in the environment; cheapest first, a minute's limits kept to, words counted when
# all else fails.

# %%
import os

KEYS = {
    "NVIDIA_NIM_API_KEY": "nvidia_nim/nvidia/llama-nemotron-rerank-1b-v2",
    "NVIDIA_API_KEY": "nvidia_nim/nvidia/llama-nemotron-rerank-1b-v2",
    "COHERE_API_KEY": "cohere/rerank-v3.5",
    "VOYAGE_API_KEY": "voyage/rerank-2.5",
}
models = dict.fromkeys(model for key, model in KEYS.items() if os.environ.get(key))
if not models:
    print("No key here. Set one or several of", ", ".join(KEYS), "and run this cell again.")
else:
    real = Router(
        [*({"model_name": "rerank", "litellm_params": {"model": model, "rpm": 40}} for model in models), spare],
        routing_strategy="cost-based-routing",
        fallbacks=[{"rerank": ["spare"]}],
        timeout=20,
    )
    print(real.rerank("rerank", query, documents))

# %%
for server in servers.values():
    server.shutdown()
    server.server_close()
