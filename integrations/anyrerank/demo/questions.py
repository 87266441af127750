"""What the demo asks. The questions and the topics that answer them were written down before any score was seen."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Question:
    """A question about Python.

    Attributes:
        text: As a user would type it.
        answered_by: Topics that answer it; empty when nobody has said.
        remark: What makes it easy or hard for a reranker that counts words.
    """

    text: str
    answered_by: frozenset[str] = frozenset()
    remark: str = ""


QUESTIONS = (
    Question("When are default parameter values evaluated?", frozenset({"function"}), "in the words of the text"),
    Question("What does the else clause of a loop do?", frozenset({"for", "while"}), "in the words of the text"),
    Question(
        "Can a with statement suppress an exception?",
        frozenset({"with", "context-managers"}),
        "in the words of the text",
    ),
    Question(
        "How do I make my own objects work with the plus sign?",
        frozenset({"numeric-types"}),
        "paraphrased: the text says neither 'plus sign' nor 'my own objects'",
    ),
)
