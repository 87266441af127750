"""The questions of the demo. They and the topics that answer them were chosen before any scores were computed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Question:
    """A question about Python.

    Attributes:
        text: The question, as a user would type it.
        answered_by: Topics that answer it; empty if unknown.
        remark: What makes it easy or hard for a lexical reranker.
    """

    text: str
    answered_by: frozenset[str] = frozenset()
    remark: str = ""


_SAME_WORDS = "uses the words of the text"

QUESTIONS = (
    Question("When are default parameter values evaluated?", frozenset({"function"}), _SAME_WORDS),
    Question("What does the else clause of a loop do?", frozenset({"for", "while"}), _SAME_WORDS),
    Question("Can a with statement suppress an exception?", frozenset({"with", "context-managers"}), _SAME_WORDS),
    Question(
        "How do I make my own objects work with the plus sign?",
        frozenset({"numeric-types"}),
        "paraphrased: the text has neither 'plus sign' nor 'my own objects'",
    ),
)
