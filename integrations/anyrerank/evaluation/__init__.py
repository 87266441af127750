"""Which reranker is best on data of one's own: quality, latency and price (`pip install 'anyrerank[evaluation]'`).

report = compare({"words": "local/lexical", "cohere": "cohere/rerank-v3.5"}, demo_set())
report                      # a table
report.plot()               # quality against latency
report.losses("cohere")     # what it made worse
"""

from anyrerank.evaluation.agreement import Agreement, agreement
from anyrerank.evaluation.compare import collect, compare
from anyrerank.evaluation.dataset import Dataset
from anyrerank.evaluation.demo_set import demo_set
from anyrerank.evaluation.files import from_beir, read_labels, read_run
from anyrerank.evaluation.labelling import label
from anyrerank.evaluation.report import Report, Row
from anyrerank.evaluation.significance import Difference
from anyrerank.evaluation.sources import from_langchain, from_llama_index, from_pandas

__all__ = [
    "Agreement",
    "Dataset",
    "Difference",
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
