# %% [markdown]
# # Batches
#
# `anyrerank batch` and `anyrerank.batch.run` rerank files of any size on one machine. This notebook kills a batch and
# goes on with it, looks at rows, costs and errors, and reads the result as JSON lines and as Parquet. It needs no key
# and no network.
#
#     pip install 'anyrerank[batch,cli,evaluation,notebook]' pandas matplotlib

# %% [markdown]
# ## Rows
#
# A row is a query with its candidates. Here the 60 queries of the included dataset get six rows of five candidates
# each, and one line that is no JSON.

# %%
import json
from pathlib import Path

from anyrerank.evaluation import demo_set

data = demo_set()
rows = [
    {
        "id": f"{query}/{start // 5}",
        "query": data.queries[query],
        "candidates": [data.documents[document] for document in found[start : start + 5]],
    }
    for query, found in data.candidates.items()
    for start in range(0, 30, 5)
]
lines = [json.dumps(row) for row in rows]
lines.insert(200, "no JSON")
Path("rows.jsonl").write_text("\n".join(lines))
print(len(lines), "rows, such as")
print(lines[0][:100], "...")

# %% [markdown]
# ## Before the start
#
# `estimate` reads some rows and sends nothing. The keys are not used. Through Voyage's Batch API the same rows are 33 %
# cheaper, and are answered within 12 hours.

# %%
import pandas as pd

from anyrerank import Reranker
from anyrerank.batch import estimate

asked = [("cohere/rerank-v3.5", "requests"), ("voyage/rerank-2.5", "requests"), ("voyage/rerank-2.5", "batch-api")]
found = [estimate("rows.jsonl", "out", Reranker(model, api_key="-"), via=via) for model, via in asked]
table = [
    {
        "model": each.model,
        "via": each.via,
        "requests": each.requests,
        "dollars per million rows": f"{1e6 * each.dollars / each.rows:,.0f}",
        "hours": each.hours or "by the quota",
    }
    for each in found
]
pd.DataFrame(table).set_index("model")

# %% [markdown]
# ## A server
#
# A stand-in of a provider that takes 20 milliseconds, and charges a made-up price. It remembers what it was asked.

# %%
import sys
import time

from anyrerank.testing import StubServer

arrivals = []


def slowly(exchange):
    arrivals.append((time.monotonic(), exchange.request.json["query"], exchange.request.documents[0]))
    time.sleep(0.02)
    exchange.rank()


server = StubServer(handler=slowly)
PRICE = 0.002
COMMAND = [
    *[
        sys.executable,
        "-m",
        "anyrerank",
        "batch",
        "rows.jsonl",
        "--out",
        "out",
        "--in-flight",
        "4",
        "--chunk-rows",
        "100",
    ],
    *["--model", "cohere_compatible/any", "--api-base", server.url, "--api-key", "-"],
    *["--option", f"input_cost_per_query={PRICE}", "--budget", "1"],
]

# %% [markdown]
# ## Killed, and run again
#
# The command runs in a process of its own, which is killed with SIGKILL after about 150 requests, and once more after
# about 300. Nothing can be tidied up then. What was answered is on disk: in parts of 100 rows, and in the journals of
# parts that are not full yet.

# %%
import subprocess

from anyrerank.batch import status


def start():
    return subprocess.Popen(COMMAND, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def run_until(requests):
    """Run the command, and kill it when the server has got this many requests."""
    process = start()
    server.wait_for_requests(requests, timeout=60)
    process.kill()
    process.wait()
    return {"run": f"killed at {requests}", **state()}


def state():
    report = status("out")
    return {
        "rows on disk": report.rows,
        "parts": len(list(Path("out").glob("part-*"))),
        "requests of the server": len(server.requests),
        "complete": report.complete,
        "dollars": round(report.cost, 3),
    }


history = [run_until(150), run_until(300)]
pd.DataFrame(history).set_index("run")

# %% [markdown]
# The same command again does the rest. Its exit status 3 says that the job is complete and that some rows failed.

# %%
print("exit status", start().wait())
history.append({"run": "to the end", **state()})
print(history[-1]["rows on disk"], "rows done, of which failed:", status("out").errors)
pd.DataFrame(history).set_index("run")

# %% [markdown]
# Every row was answered, and only those that were in flight at a kill were asked for twice: at most four each time.

# %%
print("sent twice, at most 8:", len(arrivals) - len(rows) <= 8)
print("queries of all rows were sent:", len({(query, text) for _, query, text in arrivals}) == len(rows))

# %%
import matplotlib.pyplot as plt

times = pd.Series([moment for moment, _, _ in arrivals])
times -= times[0]
gaps = times.diff()
figure, axes = plt.subplots(figsize=(8, 2.6))
axes.step(times, range(1, len(times) + 1))
for after in gaps.nlargest(2).index:
    axes.axvspan(times[after - 1], times[after], color="crimson", alpha=0.15)
axes.set(xlabel="seconds", ylabel="requests")
axes.set_title("requests at the server; red: killed, until the next process sends", fontsize=10)
plt.show()

# %% [markdown]
# ## The output
#
# One line for each row, in the order of the input: the id, the places of the candidates from best to worst, their
# scores, what it cost, and for a row that failed the error. The bad line became a row that names it.

# %%
parts = sorted(Path("out").glob("part-*.jsonl"))
output = pd.concat([pd.read_json(part, lines=True) for part in parts], ignore_index=True)
columns = ["id", "ranking", "scores", "error", "message", "attempts", "cost"]
output.loc[[0, 1, 199, 200, 201], columns]

# %%
print("dollars in the rows:", round(output["cost"].sum(), 3))
print("dollars in the status:", round(status("out").cost, 3))
print("a row for each line:", len(output) == len(lines))

# %% [markdown]
# Once the job is complete, the command sends nothing. `--retry-errors` asks again for the rows that failed. Another
# model or option in the same folder is refused, so that results never mix:

# %%
from anyrerank import ConfigurationError
from anyrerank.batch import run

before = len(server.requests)
print("exit status", start().wait(), "- requests:", len(server.requests) - before)
other = Reranker("cohere_compatible/any", api_base=server.url, api_key="-", input_cost_per_query=PRICE, top_n=3)
try:
    run("rows.jsonl", "out", other, chunk_rows=100)
except ConfigurationError as error:
    print(error)

# %% [markdown]
# ## A budget
#
# A job does not begin if its estimate is above the budget:

# %%
from anyrerank import BudgetExceededError

try:
    run("rows.jsonl", "other", other, budget=0.1)
except BudgetExceededError as error:
    print(error)

# %% [markdown]
# ## Parquet, in this process
#
# Parquet in, Parquet out, with the types of the input. `local/lexical` needs no server. `progress` is called now and
# then; on the command line it is a bar.

# %%
pd.DataFrame(rows).to_parquet("rows.parquet", index=False)
seen = []
report = run("rows.parquet", "out-parquet", "local/lexical", options={"top_n": 2}, progress=seen.append)
print(report.rows, "rows, exit code", report.exit_code, "- progress ends at", seen[-1].done, "of", seen[-1].total)
best = pd.read_parquet(next(Path("out-parquet").glob("part-*.parquet")))
best[["id", "ranking", "scores", "cost", "deployment"]].head()

# %% [markdown]
# The output joins with the input by `id`, here to the text of the best candidate:

# %%
joined = pd.DataFrame(rows).merge(best, on="id")
joined["best"] = [row["candidates"][row["ranking"][0]] for _, row in joined.iterrows()]
joined.loc[::72, ["id", "query", "best"]].set_index("id")

# %%
server.close()

# %% [markdown]
# More about failures, several machines, Voyage's Batch API, and Ray, Spark, Daft, Dask and Hugging Face datasets:
# `docs/batch.md`.
