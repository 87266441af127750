"""What each extra promises: code that works with it, and without it ends with the command that installs it."""

from __future__ import annotations

_COMMAND = "import sys; from anyrerank.__main__ import main; sys.argv[1:] = {arguments!r}; main()"
SERVE = """
import io, os, signal, sys
from anyrerank.__main__ import main

class Screen(io.StringIO):
    def write(self, text):
        if "listens on" in text:
            os.kill(os.getpid(), signal.SIGINT)
        return super().write(text)

sys.argv[1:] = ["serve", "--config", "config.yaml", "--port", "0"]
sys.stdout = Screen()
main()
"""
"""Starts a gateway, and stops it as soon as it listens."""
_REFUSED = """
from anyrerank import AuthenticationError, rerank
try:
    rerank({model!r}, "query", ["document"], {options})
except AuthenticationError as error:
    print(error)  # the library looked for credentials, and found none that are valid
"""
_NO_KEY = {
    "type": "service_account",
    "client_email": "a@example.com",
    "token_uri": "http://127.0.0.1:1",
    "private_key": "",
}

PROMISES = {
    "azure": "from anyrerank.providers.azure_ai import default_token_provider; default_token_provider('a scope')",
    "batch": """
from anyrerank import BadRequestError
from anyrerank.batch import estimate
try:
    estimate("rows.parquet", "out", "local/lexical")
except BadRequestError as error:
    print(error)  # pyarrow has read it
""",
    "bedrock": _REFUSED.format(model="bedrock/cohere.rerank-v3-5:0", options="aws_region_name='us-east-1'"),
    "cache": "from anyrerank import MemoryCache; MemoryCache()",
    "cli": _COMMAND.format(arguments=["providers", "cohere"]),
    "config": "from anyrerank import Router; Router.from_config('config.yaml')",
    "demo": _COMMAND.format(arguments=["demo"]),
    "evaluation": """
from anyrerank.evaluation import compare, demo_set
report = compare({"lexical": "local/lexical"}, demo_set())
report.to_html("report.html"), report.to_pandas()
""",
    "fastembed": """
from anyrerank import NotFoundError, Reranker
try:
    Reranker("fastembed/no-such-model").rerank("query", ["document"])
except NotFoundError as error:
    print(error)
""",
    "gateway": SERVE,
    "guardrails": "from anyrerank.guardrails import PresidioMask; print(PresidioMask()('Write to ann@example.com'))",
    "haystack": "import anyrerank.haystack",
    "langchain": "import anyrerank.langchain",
    "ledger": "from anyrerank.ledger import Ledger; Ledger('spend.db').close()",
    "llama-index": "import anyrerank.llama_index",
    "notebook": "import anyrerank; anyrerank.Reranker('local/lexical').rerank_many(['q'], [['d']], progress=True)",
    "otel": "import anyrerank.telemetry",
    "postgres": """
from anyrerank import ConfigurationError, MissingExtraError
from anyrerank.ledger import Ledger
try:
    Ledger("postgresql://127.0.0.1:1/spend")
except MissingExtraError:
    raise
except ConfigurationError as error:
    print(error)  # the driver has tried to connect
""",
    "redis": "from anyrerank import RedisCache; RedisCache('redis://127.0.0.1:1')",
    "sentence-transformers": "import anyrerank; anyrerank.Reranker('sentence_transformers/model').rerank('q', ['d'])",
    "vertex": _REFUSED.format(model="vertex_ai/semantic-ranker-512@latest", options=f"vertex_credentials={_NO_KEY}"),
}
"""By extra; each runs in a folder with the files in `FILES`."""

FILES = {
    "config.yaml": "model_list: [{model_name: rerank, litellm_params: {model: local/lexical}}]",
    "rows.parquet": "not a Parquet file",
}

TOGETHER = {"postgres": {"ledger"}}
"""Extras that are installed in both cases."""
