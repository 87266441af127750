"""Advice in error messages for operators, who set variables and edit a file instead of passing arguments."""

from __future__ import annotations

import re

_PASS = re.compile(r"\bpass (?=\w+=)")
_OPTION = re.compile(r"\b([a-z]\w*)=(?=$|[\s,;)]|<)")
_VARIABLES = re.compile(r"(?:, or|,| or) set ([A-Z]\w*(?: or [A-Z]\w*)*)$")


def for_operator(message: str) -> str:
    """A message whose advice is about a configuration file and the environment, not about arguments in Python.

    `pass api_key=, or set NAME` becomes `set NAME in the gateway's environment, or api_key: os.environ/NAME in
    litellm_params`. A message with other advice is returned as it is.
    """
    begin = _PASS.search(message)
    if begin is None:
        return message
    head, advice = message[: begin.start()], message[begin.end() :]
    advice = advice.replace(", or prices=", "")
    variables = _VARIABLES.search(advice)
    options = advice if variables is None else advice[: variables.start()]
    named = _OPTION.sub(r"\1", _PASS.sub("set ", options))
    if variables is None:
        return f"{head}set {named} in litellm_params"
    first = variables[1].partition(" ")[0]
    where = f"{named}: os.environ/{first}" if named.isidentifier() else named
    return f"{head}set {variables[1]} in the gateway's environment, or {where} in litellm_params"
