"""Offline reranking of files with millions of rows, on one machine.

    report = run("in/*.jsonl", "out", "voyage/rerank-2.5", budget=50)

`anyrerank batch` does the same on the command line. The page Batches of the documentation describes
resume, costs and columns.
"""

from anyrerank.batch.engines import RerankBatch
from anyrerank.batch.estimate import Estimate
from anyrerank.batch.progress import Progress
from anyrerank.batch.report import Report, status
from anyrerank.batch.run import arun, estimate, run
from anyrerank.batch.settings import RunKeywords

__all__ = ["Estimate", "Progress", "Report", "RerankBatch", "RunKeywords", "arun", "estimate", "run", "status"]
