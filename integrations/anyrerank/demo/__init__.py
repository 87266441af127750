"""The demo of `anyrerank demo`: real text, an embedding, vector stores, and a reranker between retrieval and prompt.

corpus          the text and its passages
embedding       latent semantic analysis, which needs no download
questions       the questions, and the topics that answer them
pipeline        the interface of a pipeline: its settings and its outcome
in_langchain    the pipeline in LangChain
in_llama_index  the pipeline in LlamaIndex
tables          the results as tables in a terminal
show            a whole run

Needs `pip install 'anyrerank[demo]'`. Only `in_langchain` and `in_llama_index` import a framework, so they are imported
from their own modules.
"""

from anyrerank.demo.corpus import passages
from anyrerank.demo.embedding import Lsa
from anyrerank.demo.pipeline import Settings
from anyrerank.demo.questions import ALL_QUESTIONS, QUESTIONS, Question
from anyrerank.demo.show import FRAMEWORKS, show, train_embedding

__all__ = [
    "ALL_QUESTIONS",
    "FRAMEWORKS",
    "QUESTIONS",
    "Lsa",
    "Question",
    "Settings",
    "passages",
    "show",
    "train_embedding",
]
