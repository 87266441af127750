# %% [markdown]
# # NVIDIA NIM
#
# NVIDIA's rerankers, hosted by NVIDIA or on your own servers: URLs, keys, truncation, scores, many documents, and
# errors. The last part calls the hosted service if a key is set.
#
# | | hosted | self-hosted |
# | --- | --- | --- |
# | model | `nvidia_nim/nvidia/llama-nemotron-rerank-1b-v2` | `nvidia_nim/ranking/nvidia/llama-nemotron-rerank-1b-v2` |
# | key | `NVIDIA_NIM_API_KEY` or `NVIDIA_API_KEY` | not needed |
# | base URL | `https://ai.api.nvidia.com`, or `api_base` | `api_base`, often `http://localhost:8000` |
# | path | `/v1/retrieval/<model>/reranking` | `/v1/ranking` |
#
#     pip install 'anyrerank[notebook,langchain,llama-index]' pandas

# %% [markdown]
# ## A stand-in server
#
# This cell starts a local server with the API of a NIM. **It is not the model**: its logits come from counting shared
# words. The rest of this notebook works in the same way with a real NIM.

# %%
import json
import re
import threading
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEY = "nvapi-of-the-stand-in"
MAX_WORDS = 512
requests = []
failures = deque()  # responses to the next requests


def words(text):
    return set(re.findall(r"\w+", text.lower()))


class StandIn(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        requests.append({"path": self.path, "passages": len(body["passages"]), "truncate": body.get("truncate")})
        status, headers, answer = self.answer(body)
        content = json.dumps(answer).encode()
        self.send_response(status)
        for name, value in {"Content-Length": len(content), "Content-Type": "application/json", **headers}.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(content)

    def answer(self, body):
        if failures:
            return failures.popleft()
        if "/retrieval/" in self.path and self.headers["Authorization"] != f"Bearer {KEY}":
            return 401, {}, {"status": 401, "title": "Unauthorized", "detail": "Authentication failed"}
        texts = [passage.get("text", "") for passage in body["passages"]]
        if body.get("truncate") == "NONE" and any(len(text.split()) > MAX_WORDS for text in texts):
            return 400, {}, {"error": f"Input length exceeds the maximum of {MAX_WORDS} words of this stand-in"}
        query = words(body["query"]["text"])
        logits = [14 * len(query & words(text)) / len(query) - 9 for text in texts]
        rankings = [{"index": index, "logit": logit} for index, logit in enumerate(logits)]
        tokens = sum(len(text.split()) + len(query) for text in texts)
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return 200, {}, {"rankings": sorted(rankings, key=lambda each: -each["logit"]), "usage": usage}

    def log_message(self, *_):
        """Print no access log."""


server = ThreadingHTTPServer(("127.0.0.1", 0), StandIn)
threading.Thread(target=server.serve_forever, daemon=True).start()
base = f"http://127.0.0.1:{server.server_port}"

# %% [markdown]
# ## Hosted and self-hosted
#
# A self-hosted NIM is `nvidia_nim/ranking/<model>` with its URL as `api_base` (or in `NVIDIA_NIM_API_BASE`):

# %%
from anyrerank import rerank

SELF_HOSTED = "nvidia_nim/ranking/nvidia/llama-nemotron-rerank-1b-v2"
HOSTED = "nvidia_nim/nvidia/llama-nemotron-rerank-1b-v2"
query = "What is the GPU memory bandwidth of the H100 SXM?"
documents = [
    "The A100 80GB reaches 2,039 GB/s of memory bandwidth.",
    "Power supplies of servers are usually redundant.",
    "The H100 SXM has 3.35 TB/s of GPU memory bandwidth.",
    "The H100 on a PCIe card reaches 2 TB/s.",
]
rerank(SELF_HOSTED, query, documents, api_base=base)

# %% [markdown]
# The hosted service has the model in its path. Without `api_base` the call goes to NVIDIA; with `api_base`, to a
# gateway with the same paths. A URL that contains `/retrieval/` is used unchanged.

# %%
hosted = rerank(HOSTED, query, documents, api_base=base, api_key=KEY, top_n=2)
full_url = rerank(HOSTED, query, documents, api_base=f"{base}/v1/retrieval/our/own/reranking", api_key=KEY, top_n=2)
for request in requests:
    print(request["path"])
print("same results:", hosted.results == full_url.results)
print("tokens reported by the server:", hosted.meta.tokens.input_tokens)

# %% [markdown]
# ## Scores
#
# NVIDIA's scores are logits: unbounded and often negative. `score_mode="unit"` maps them to 0..1 with the logistic
# function, which makes a `score_threshold` easier to choose. The order stays the same.

# %%
import pandas as pd

pd.set_option("display.max_colwidth", None)
raw = rerank(SELF_HOSTED, query, documents, api_base=base)
unit = rerank(SELF_HOSTED, query, documents, api_base=base, score_mode="unit")
pd.DataFrame(
    {
        "logit": raw.results.scores,
        "unit": unit.results.scores,
        "document": [result.document["text"] for result in raw.results],
    }
).round(3)

# %%
above = rerank(SELF_HOSTED, query, documents, api_base=base, score_mode="unit", score_threshold=0.5)
print([result.index for result in above.results])

# %% [markdown]
# ## Long passages
#
# With `truncate="END"` the server truncates long passages; with `"NONE"` they are an error. The default differs between
# models, so nothing is sent unless you set it. Any other value is an error before anything is sent.

# %%
import logging

from anyrerank import RerankError

logging.getLogger("anyrerank").addHandler(logging.NullHandler())  # failed calls are also logged as warnings
long = ["memory " * 600, "The H100 SXM has 3.35 TB/s of GPU memory bandwidth."]
for truncate in ("END", "NONE", "START"):
    before = len(requests)
    try:
        outcome = rerank(SELF_HOSTED, query, long, api_base=base, truncate=truncate).results.indexes
    except RerankError as error:
        outcome = f"{type(error).__name__}: {error.message}"
    print(f"{truncate:5}  sent: {[request['truncate'] for request in requests[before:]]}  {outcome}")

# %% [markdown]
# ## Many documents
#
# A NIM takes up to 1,000 passages per request. More are split into concurrent requests, and the results are merged: an
# index refers to your list, and usage is added up. `attempts` lists every request. (`batch_size` sets the size of a
# request, `max_concurrency` the number of concurrent ones.)

# %%
many = [f"Server {number} has {number % 80} GB of GPU memory." for number in range(2500)]
many[1234] = "What is the bandwidth of the H100 SXM? Its GPU memory has 3.35 TB/s."
before = len(requests)
response = rerank(SELF_HOSTED, query, many, api_base=base, top_n=3)
print("passages in each request:", sorted((request["passages"] for request in requests[before:]), reverse=True))
print(f"best: documents[{response.results[0].index}]; tokens: {response.meta.tokens.input_tokens:,}")
pd.DataFrame([attempt.model_dump(include={"deployment", "status", "seconds"}) for attempt in response.attempts])

# %% [markdown]
# ## Images
#
# The vision-language models (`-vl-` in their names) rank `{"image": "data:image/png;base64,...", "text": ...}`, up to
# 512 per request. A URL or a path as the image is an error, because anyrerank does not fetch URLs or read files. Text
# models rank only the text of such a document.

# %%
page = {"text": "A chart of memory bandwidth", "image": "https://pictures.example/chart.png"}
try:
    rerank("nvidia_nim/nvidia/llama-nemotron-rerank-vl-1b-v2", query, [page], api_base=base, api_key=KEY)
except RerankError as error:
    print(f"{type(error).__name__}: {error.message}")

# %% [markdown]
# ## Errors
#
# The class of an error tells its kind, and its attributes have the details. It contains no key, query or document. In
# the second call the server asks to wait 30 seconds, but the timeout is 5 seconds, so the call fails at once.

# %%
for retry_after, options in ((None, {"api_key": "nvapi-wrong"}), (30, {"api_key": KEY, "timeout": 5})):
    if retry_after is not None:
        failures.append((429, {"Retry-After": retry_after}, {"status": 429, "title": "Too Many Requests"}))
    try:
        rerank(HOSTED, query, documents, api_base=base, **options)
    except RerankError as error:
        print(f"{type(error).__name__}: {error.message} (retry_after={error.retry_after})")

# %% [markdown]
# If the timeout allows it, the call waits as long as the server asks, and tries again:

# %%
failures.append((429, {"Retry-After": 1}, {"status": 429, "title": "Too Many Requests"}))
response = rerank(HOSTED, query, documents, api_base=base, api_key=KEY, timeout=30)
print([(attempt.status, attempt.error) for attempt in response.attempts])

# %% [markdown]
# ## In a pipeline
#
# The adapters take the same parameters; the notebooks on LangChain and LlamaIndex show how to use them.

# %%
from langchain_core.documents import Document
from llama_index.core.schema import NodeWithScore, TextNode

import anyrerank.langchain
import anyrerank.llama_index

options = {"model": SELF_HOSTED, "api_base": base, "truncate": "END", "score_mode": "unit", "top_n": 1}
found = [Document(page_content=text) for text in documents]
for document in await anyrerank.langchain.AnyRerank(**options).acompress_documents(found, query):
    print(f"{document.metadata['relevance_score']:.3f}  {document.page_content}")
nodes = [NodeWithScore(node=TextNode(text=text)) for text in documents]
for node in await anyrerank.llama_index.AnyRerank(**options).apostprocess_nodes(nodes, query_str=query):
    print(f"{node.score:.3f}  {node.text}")

# %% [markdown]
# ## The real service
#
# With a key, the same calls go to NVIDIA. The second question shares no word with its answer.

# %%
import os

key = next((name for name in ("NVIDIA_NIM_API_KEY", "NVIDIA_API_KEY") if os.environ.get(name)), None)
paraphrased = ["To cancel the subscription, open Settings, then Billing.", "You pay every month, on the first day."]
if key is None:
    print("No API key found. Set NVIDIA_NIM_API_KEY or NVIDIA_API_KEY and run this cell again.")
else:
    print(rerank(HOSTED, query, documents, truncate="END"))
    print(rerank(HOSTED, "How do I stop being charged?", paraphrased, truncate="END", score_mode="unit"))

# %%
server.shutdown()
server.server_close()
