# %% [markdown]
# # In production
#
# Routing over several deployments, fallbacks, caching, budgets, guardrails, a spend ledger, logging and OpenTelemetry.
# Everything works in the same way with `Reranker`, `Router`, and the adapters for LangChain and LlamaIndex.
#
#     pip install 'anyrerank[notebook,langchain,cache,ledger,otel]' opentelemetry-sdk pandas matplotlib

# %% [markdown]
# ## Stand-in servers
#
# Three local servers with Cohere's API that count shared words. One is healthy, one fails every second time, one is
# slow. They are not models, and the prices below are made up too.

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
        query = set(body["query"].lower().split())
        scores = [len(query & set(text.lower().split())) / len(query) for text in body["documents"]]
        results = [{"index": index, "relevance_score": score} for index, score in enumerate(scores)]
        answer = {"results": results, "meta": {"billed_units": {"search_units": 1}}}
        content = json.dumps({"message": "overloaded"} if failed else answer).encode()
        self.send_response(503 if failed else 200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        """Print no access log."""


class StandIn(ThreadingHTTPServer):
    def __init__(self, *, seconds=0.0, flaky=False):
        super().__init__(("127.0.0.1", 0), Handler)
        self.seconds, self.flaky, self.down, self.queries = seconds, flaky, False, []
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, daemon=True).start()


servers = {"healthy": StandIn(), "flaky": StandIn(flaky=True), "slow": StandIn(seconds=0.02)}

# %% [markdown]
# ## Logging
#
# Every call is a record of the logger `anyrerank` at level INFO, with its details in `record.anyrerank` and without
# query and documents. Failed calls and cooldowns are warnings. This cell collects all records in a list.

# %%
import logging

records = []


class ListHandler(logging.Handler):
    def emit(self, record):
        records.append(record)


logging.getLogger("anyrerank").addHandler(ListHandler())
logging.getLogger("anyrerank").setLevel(logging.INFO)

# %% [markdown]
# ## A router
#
# `model_list` has LiteLLM's format; `Router.from_config("config.yaml")` reads LiteLLM's config file. By weight, half of
# the calls go to the healthy deployment.

# %%
from anyrerank import Router

WEIGHTS = {"healthy": 2, "flaky": 1, "slow": 1}
COSTS = {"healthy": 0.002, "flaky": 0.001, "slow": 0.0005}  # US dollars per request
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
router = Router(
    model_list,
    allowed_fails=9,  # failures per minute before a deployment cools down
    cooldown_time=60,  # seconds
)
query = "which planet is red"
documents = ["Venus is hot.", "Mars is the red planet.", "Goethe wrote Faust."]
response = router.rerank("rerank", query, documents, top_n=1)
print(response.results[0].document["text"])

# %% [markdown]
# Now 200 calls. A failed attempt is repeated at another deployment at once, so no call fails. After its tenth failure
# in a minute, the flaky deployment cools down and gets no more calls.

# %%
answered, failed = [], []
for number in range(200):
    for attempt in router.rerank("rerank", query, documents).attempts:
        (failed if attempt.error else answered).append((number, attempt.model_id))
print(len(answered), "calls were answered; all failed attempts were at", {name for _, name in failed})

# %%
import matplotlib.pyplot as plt
import pandas as pd

figure, axes = plt.subplots(figsize=(8, 2.4))
heights = {name: height for height, name in enumerate(reversed(list(servers)))}
for attempts, style in ((answered, {"marker": "|", "s": 180}), (failed, {"marker": "x", "color": "crimson"})):
    axes.scatter([number for number, _ in attempts], [heights[name] for _, name in attempts], **style)
axes.set(yticks=list(heights.values()), yticklabels=list(heights), ylim=(-0.6, 2.8), xlabel="call")
axes.set_title("answered (|) and failed (x) attempts by deployment", fontsize=10)
plt.show()

# %% [markdown]
# Each deployment's share of the answers before the flaky one cooled down (it answers half of its calls) and during the
# cooldown, and the current state of the deployments:

# %%
last = max(number for number, _ in failed)
shares = pd.DataFrame(
    {
        "weight": pd.Series(WEIGHTS) / sum(WEIGHTS.values()),
        "before the cooldown": pd.Series([name for number, name in answered if number <= last]).value_counts(
            normalize=True
        ),
        "during the cooldown": pd.Series([name for number, name in answered if number > last]).value_counts(
            normalize=True
        ),
    }
).reindex(list(servers))
shares.fillna(0).map("{:.0%}".format)

# %%
pd.DataFrame(router.deployment_status()).drop(columns="tokens").round(1)

# %% [markdown]
# The log has a warning for each cooldown and a record for each call:

# %%
for record in records:
    if record.levelno == logging.WARNING:
        print(record.levelname, record.getMessage())
records[-1].anyrerank

# %% [markdown]
# ## Strategies
#
# By default, calls are distributed by weight. The same calls to the fastest and to the cheapest deployment:

# %%
counts = {}
for strategy in ("simple-shuffle", "latency-based-routing", "cost-based-routing"):
    chosen = [each for each in model_list if each["model_info"]["id"] != "flaky"]
    with Router(chosen, routing_strategy=strategy) as strategic:
        answers = [strategic.rerank("rerank", query, documents).model for _ in range(20)]
    counts[strategy] = pd.Series(answers).value_counts()
pd.DataFrame(counts).fillna(0).astype(int)

# %% [markdown]
# ## Fallbacks
#
# A model name can have fallbacks to other names. If all of them fail, one error holds every attempt.

# %%
from anyrerank import FallbackError

for server in servers.values():
    server.down = True
spare = {"model_name": "spare", "litellm_params": {"model": "local/lexical"}, "model_info": {"id": "lexical"}}
safe = Router([*model_list, spare], fallbacks=[{"rerank": ["spare"]}])
response = safe.rerank("rerank", query, documents)
print("answered by", f"{response.provider}/{response.model}")
print(sorted((attempt.model_id, attempt.error) for attempt in response.attempts if attempt.error))
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
# A cache stores the score of each pair of query and document, so a call that shares 90 of 100 documents with an earlier
# one sends only ten. Scores are cached per model. (`SQLiteCache("scores.db")` stores them in a file that several
# processes can share.)

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
for label, batch in {"100": planets[:100], "90 of them, 10 new": planets[10:], "the same": planets[10:]}.items():
    response = caching.rerank(query, batch)
    rows.append({"documents": label, "cached": response.cached, "cost": response.cost, "saved": response.saved})
pd.DataFrame(rows)

# %% [markdown]
# ## Budgets
#
# The estimated cost of a call is reserved before it is sent; a call that exceeds the budget is not sent. This budget is
# per end user and never resets; `Budget(0.50, "1d")` resets every day.

# %%
from anyrerank import Budget, BudgetExceededError

limited = Reranker(**healthy, user_budget=Budget(0.005))
for user in ("ann", "ann", "ann", "bob"):
    try:
        print(user, limited.rerank(query, documents, user=user).cost)
    except BudgetExceededError as error:
        print(user, f"{type(error).__name__}: {error.message}")

# %% [markdown]
# ## Guardrails
#
# A guardrail checks a query before it is sent or logged, and can change or reject it. Any function can be a guardrail;
# if it fails, the call is blocked. The server received:

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
# ## Spend by user
#
# The ledger is a hook, which is called with an event after each call. It writes to an SQLite file, or to any database
# that SQLAlchemy supports, without delaying calls. Set users and tags around a chain or an engine; in LangChain the
# metadata of a run works too.

# %%
import tempfile
from pathlib import Path

from langchain_core.documents import Document

from anyrerank import using_attributes
from anyrerank.langchain import AnyRerank
from anyrerank.ledger import Ledger

found = [Document(page_content=text) for text in documents]
with tempfile.TemporaryDirectory() as folder, Ledger(Path(folder) / "spend.db") as ledger:
    tracked = Router(model_list, cache=MemoryCache(), hooks=[ledger])
    compressor = AnyRerank(reranker=tracked)  # the router in an adapter
    for user, tag, questions in (("ann", "search", 8), ("bob", "search", 4), ("bob", "chat", 12)):
        with using_attributes(user=user, metadata={"tags": [tag]}):
            for number in range(questions):
                await compressor.acompress_documents(found, f"which planet is number {number}")
    spends = ledger.spend(by=("user", "tag"))

# %%
COLUMNS = ("calls", "requests", "failures", "cost", "saved")
rows = [{**each.group, **{name: getattr(each, name) for name in COLUMNS}} for each in spends]
pd.DataFrame(rows).set_index(["user", "tag"]).round(4)

# %% [markdown]
# `spend` can also group by model, deployment, provider and day, and filter by time and other fields; `anyrerank spend`
# shows the same on the command line.
#
# ## OpenTelemetry
#
# Another hook: a span for each call with a child span for each attempt, and metrics, with the attributes of the GenAI
# semantic conventions. Without arguments it uses the global providers; here spans stay in memory. Query and documents
# are left out unless `content=True`.

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
) as observed:
    response = observed.rerank(query, documents, user="ann", top_n=1)
servers["healthy"].down = False
SHOWN = ("gen_ai.request.model", "http.response.status_code", "error.type", "user.id")
rows = [
    {
        "span": span.name,
        "parent": "call" if span.parent else "",
        "ms": (span.end_time - span.start_time) / 1e6,
        **{name: span.attributes.get(name, "") for name in SHOWN},
    }
    for span in exporter.get_finished_spans()
]
pd.DataFrame(rows).round(1)

# %% [markdown]
# ## Real deployments
#
# The same with models whose keys are in the environment: cheapest first, with a limit of requests per minute, and
# `local/lexical` as the last resort.

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
    print("No API key found. Set one or more of", ", ".join(KEYS), "and run this cell again.")
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
