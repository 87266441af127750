"""Compare rerankers on your own data: quality, latency and cost (`pip install 'anyrerank[evaluation]'`).

    report = compare({"lexical": "local/lexical", "cohere": "cohere/rerank-v3.5"}, demo_set())
    report                        # a table
    report.plot()                 # quality against latency
    report.thresholds("cohere")   # what a score threshold would keep and lose
    report.losses("cohere")       # the queries it made worse; report.wins(...) for the others

`collect`, `agreement` and `label` work without labels.
"""

from anyrerank.evaluation.agreement import Agreement, PairAgreement, agreement
from anyrerank.evaluation.changes import Change, Changes, Move
from anyrerank.evaluation.compare import collect, compare
from anyrerank.evaluation.dataset import Dataset
from anyrerank.evaluation.demo_set import demo_set
from anyrerank.evaluation.files import from_beir, read_labels, read_run
from anyrerank.evaluation.outcomes import Outcome
from anyrerank.evaluation.report import Report
from anyrerank.evaluation.rows import Row
from anyrerank.evaluation.significance import Difference
from anyrerank.evaluation.sources import from_langchain, from_llama_index, from_pandas
from anyrerank.evaluation.widget import label

__all__ = [
    "Agreement",
    "Change",
    "Changes",
    "Dataset",
    "Difference",
    "Move",
    "Outcome",
    "PairAgreement",
    "Report",
    "Row",
    "agreement",
    "collect",
    "compare",
    "demo_set",
    "from_beir",
    "from_langchain",
    "from_llama_index",
    "from_pandas",
    "label",
    "read_labels",
    "read_run",
]
