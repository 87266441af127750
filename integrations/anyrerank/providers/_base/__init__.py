"""What providers share."""

from anyrerank.providers._base.answers import (
    UnusableAnswerError,
    dig,
    dollars,
    estimated_units,
    finite,
    first_at,
    ranked,
    usage,
    whole_number,
)
from anyrerank.providers._base.cohere_style import COHERE_USED, PROMPT_USED, TOTAL_USED, CohereStyle
from anyrerank.providers._base.cohere_versions import CohereVersions
from anyrerank.providers._base.connection import Connection, Setting
from anyrerank.providers._base.cross_encoder import CrossEncoder, Score, inherited
from anyrerank.providers._base.provider import NOTHING_ASKED, Provider
from anyrerank.providers._base.redaction import Redactor
from anyrerank.providers._base.refusals import json_or_none, message_in
from anyrerank.providers._base.urls import endpoint, is_http_url

__all__ = [
    "COHERE_USED",
    "NOTHING_ASKED",
    "PROMPT_USED",
    "TOTAL_USED",
    "CohereStyle",
    "CohereVersions",
    "Connection",
    "CrossEncoder",
    "Provider",
    "Redactor",
    "Score",
    "Setting",
    "UnusableAnswerError",
    "dig",
    "dollars",
    "endpoint",
    "estimated_units",
    "finite",
    "first_at",
    "inherited",
    "is_http_url",
    "json_or_none",
    "message_in",
    "ranked",
    "usage",
    "whole_number",
]
