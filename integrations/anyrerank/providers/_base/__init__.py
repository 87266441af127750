"""The code that providers share."""

from anyrerank.providers._base.answers import (
    UnusableAnswerError,
    dig,
    dollars,
    estimated_units,
    finite_float,
    first_at,
    in_order,
    int_or_text,
    ranked,
    usage,
)
from anyrerank.providers._base.aws import AWS_KEYS, aws_session_for, resolved_aws_settings
from anyrerank.providers._base.cohere_style import COHERE_USAGE, PROMPT_USAGE, TOTAL_USAGE, CohereStyle, truncate_word
from anyrerank.providers._base.cohere_versions import CohereVersions
from anyrerank.providers._base.connection import Connection, Setting
from anyrerank.providers._base.cross_encoder import CrossEncoder, Score, imported_before_fork
from anyrerank.providers._base.error_body import json_or_none, message_in
from anyrerank.providers._base.errors import CHECK_BASE
from anyrerank.providers._base.provider import EMPTY_REQUEST, Provider
from anyrerank.providers._base.redaction import Redactor
from anyrerank.providers._base.urls import endpoint, is_endpoint, is_http_url, without_operation

__all__ = [
    "AWS_KEYS",
    "CHECK_BASE",
    "COHERE_USAGE",
    "EMPTY_REQUEST",
    "PROMPT_USAGE",
    "TOTAL_USAGE",
    "CohereStyle",
    "CohereVersions",
    "Connection",
    "CrossEncoder",
    "Provider",
    "Redactor",
    "Score",
    "Setting",
    "UnusableAnswerError",
    "aws_session_for",
    "dig",
    "dollars",
    "endpoint",
    "estimated_units",
    "finite_float",
    "first_at",
    "imported_before_fork",
    "in_order",
    "int_or_text",
    "is_endpoint",
    "is_http_url",
    "json_or_none",
    "message_in",
    "ranked",
    "resolved_aws_settings",
    "truncate_word",
    "usage",
    "without_operation",
]
