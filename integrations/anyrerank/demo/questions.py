"""The questions of the demo, and the topics that answer them.

`ALL_QUESTIONS` are the queries of the labelled dataset `demo_v1` (see `anyrerank.evaluation.demo_set`) of which every
answer, that is every passage of grade 2 or 3, is an excerpt of the language reference. They are answered by the topics
that contain these excerpts. No query was written or changed for the demo.

`QUESTIONS` are those that the demo shows. The rule was written before any reranker had been run on these questions,
and looks at the first stage alone. Retrieval must find an answer among 20 candidates in both frameworks, and there must
be room to improve: the first answer is not at rank 1 in either. Of these questions, in the order of their ids, the demo
shows the first three that share words with their answer (kinds `words`, `graded` and `distractor`) and the first
paraphrase. Only three questions meet the rule: for most, the first stage finds an answer at rank 1, or none.

So the questions shown are examples, not a measurement. The demo states the mean over all questions next to them.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Question:
    """A question about Python.

    Attributes:
        text: The question, as a user would type it.
        answered_by: Topics that answer it; empty if unknown.
        remark: What makes it easy or hard for a lexical reranker.
        id: Id of the query in `demo_v1`; empty for other questions.
    """

    text: str
    answered_by: frozenset[str] = frozenset()
    remark: str = ""
    id: str = ""


_WORDS, _PARAPHRASE = "shares words with its answer", "paraphrased"


def _question(query: str, remark: str, text: str, *topics: str) -> Question:
    return Question(text, frozenset(topics), remark, query)


ALL_QUESTIONS = (
    _question(
        "q03",
        _PARAPHRASE,
        "fill in a starting number automatically when I look up something never stored so far",
        "typesmapping",
    ),
    _question(
        "q04",
        _PARAPHRASE,
        "putting my records into a set fails now that I taught them how to compare themselves",
        "customization",
    ),
    _question("q05", _WORDS, "why is the exception variable cleared at the end of an except clause", "try"),
    _question("q08", _PARAPHRASE, "how do I show 1000000 as 1,000,000 in a report", "formatstrings"),
    _question("q13", _WORDS, "precision in a format string for presentation type f", "formatstrings"),
    _question(
        "q14",
        _WORDS,
        "nonlocal SyntaxError when the name is not bound in an enclosing function",
        "naming",
        "nonlocal",
    ),
    _question("q15", _PARAPHRASE, "keep the original failure visible while signalling a new one", "raise"),
    _question("q17", _WORDS, "are default parameter values evaluated once or for each call", "function"),
    _question("q24", _WORDS, "how do I make sure that cleanup code runs even when an error occurs", "try"),
    _question(
        "q26", _WORDS, "AttributeError when assigning a new variable to an instance with __slots__", "attribute-access"
    ),
    _question("q34", _PARAPHRASE, "I changed one row of my grid and every other row changed too", "typesseq"),
    _question(
        "q36",
        _WORDS,
        "hook that is called for every attribute access, even if the attribute is found through the normal mechanism",
        "attribute-access",
    ),
    _question(
        "q41",
        _PARAPHRASE,
        "increasing a counter from the top of my file crashes, yet just printing it works",
        "global",
        "naming",
    ),
    _question("q43", _WORDS, "how is a new instance of a class created and initialised", "customization"),
    _question("q46", _WORDS, "what should __repr__ return", "customization"),
    _question("q51", _WORDS, "what happens to the saved exception when finally executes a return", "try"),
    _question("q52", _WORDS, "why can a method not use a variable defined in the class by its bare name", "naming"),
    _question("q53", _WORDS, "when is the optional else clause of a loop executed", "for"),
    _question("q60", _PARAPHRASE, "my sanity checks vanished in production", "assert"),
)

_SHOWN = ("q24", "q53", "q04")

QUESTIONS = tuple(question for name in _SHOWN for question in ALL_QUESTIONS if question.id == name)
