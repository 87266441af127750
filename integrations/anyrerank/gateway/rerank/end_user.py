"""The names of end users, by one rule for requests, keys and customers."""

from __future__ import annotations

from anyrerank.gateway.errors import bad_request

_LONGEST = 256


def checked_end_user(name: object, field: str) -> str:
    """The name of an end user, if the database can store it as it is.

    Args:
        name: As it was given.
        field: The field that holds it, such as `metadata.end_user`.

    Raises:
        GatewayError: It is no printable text of 1 to 256 characters.
    """
    if isinstance(name, str) and 0 < len(name) <= _LONGEST and name.isprintable():
        return name
    message = f"{field} must be printable text of 1 to {_LONGEST} characters, as it is the name of an end user"
    raise bad_request(message, field.partition(".")[0])
