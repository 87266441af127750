"""Reading and writing keys and end users in the database. Blocks: to be used in a thread."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from anyrerank.gateway.errors import bad_request
from anyrerank.gateway.keys.database import SERVER_TIME, Database
from anyrerank.gateway.keys.key import Key, new_secret
from anyrerank.gateway.keys.tables import changes, customers, keys


@dataclass(frozen=True, slots=True, kw_only=True)
class Customer:
    """An end user with a budget of its own."""

    user_id: str
    max_budget: float | None = None
    budget_duration: str | None = None
    blocked: bool = False


class Store:
    """Keys and end users.

    Every method may raise a `DatabaseError`.

    Args:
        database: Where they are.
    """

    def __init__(self, database: Database) -> None:
        self.database = database

    def change(self) -> tuple[int, float | None]:
        """A number that is another one after each change, and seconds since 1970 by the clock of a database server."""
        now = sa.null() if self.database.url.get_backend_name() == "sqlite" else SERVER_TIME
        with self.database.begin() as connection:
            number, seconds = connection.execute(sa.select(changes.c.number, now)).one()
            return number, None if seconds is None else float(seconds)

    def all(self) -> tuple[int, list[Key], list[Customer]]:
        """The number of the last change, every key, and every end user."""
        with self.database.begin() as connection:
            number = int(connection.execute(sa.select(changes.c.number)).scalar() or 0)  # first: a later one is seen
            found = [_key(row) for row in connection.execute(sa.select(keys).order_by(keys.c.created_at))]
            users = [Customer(**row._mapping) for row in connection.execute(sa.select(customers))]
            return number, found, users

    def create(self, columns: Mapping[str, Any], now: float) -> tuple[str, Key]:
        """Make a key, and return its secret, which is not stored.

        Raises:
            GatewayError: Another key has this alias.
        """
        secret, token, name = new_secret()
        key = Key(**{**columns, "token": token, "key_name": name, "created_at": now, "updated_at": now})
        with _unique_alias(), self.database.begin() as connection:
            connection.execute(sa.insert(keys).values(**_row(key)))
            _changed(connection)
        return secret, key

    def update(self, token: str, columns: Mapping[str, Any], now: float) -> Key | None:
        """Change a key, and return it; `None` if there is none. Metadata is added to what there is.

        Raises:
            GatewayError: Another key has this alias.
        """
        with _unique_alias(), self.database.begin() as connection:
            found = connection.execute(sa.select(keys).where(keys.c.token == token).with_for_update()).first()
            if found is None:
                return None
            values = {**columns, "updated_at": now}
            if "metadata" in columns:
                values["metadata"] = {**found.metadata, **columns["metadata"]}
            connection.execute(sa.update(keys).where(keys.c.token == token).values(**values))
            _changed(connection)
            return _key(connection.execute(sa.select(keys).where(keys.c.token == token)).one())

    def delete(self, tokens: Sequence[str], aliases: Sequence[str]) -> list[Key]:
        """Remove keys, and return those that there were."""
        which = sa.or_(keys.c.token.in_(tokens), keys.c.key_alias.in_(_printable(aliases)))
        with self.database.begin() as connection:
            found = [_key(row) for row in connection.execute(sa.select(keys).where(which))]
            connection.execute(sa.delete(keys).where(which))
            _changed(connection)
        return found

    def set_customer(self, columns: Mapping[str, Any], *, new: bool) -> bool:
        """Make or change an end user; `False` if it is there already, or not there."""
        user = columns["user_id"]
        with suppress(IntegrityError), self.database.begin() as connection:  # another request made it meanwhile
            there = connection.execute(sa.select(customers.c.user_id).where(customers.c.user_id == user)).first()
            if (there is not None) == new:
                return False
            values = {"blocked": False, **columns} if new else columns
            statement = sa.insert(customers) if new else sa.update(customers).where(customers.c.user_id == user)
            connection.execute(statement.values(**values))
            _changed(connection)
            return True
        return False

    def delete_customers(self, users: Sequence[str]) -> int:
        """Remove end users, and return how many there were."""
        which = customers.c.user_id.in_(_printable(users))
        with self.database.begin() as connection:
            count = connection.execute(sa.delete(customers).where(which)).rowcount
            _changed(connection)
        return count


@contextmanager
def _unique_alias() -> Iterator[None]:
    try:
        yield
    except IntegrityError:
        raise bad_request("another key has this key_alias: choose another one", "key_alias") from None


def _printable(names: Sequence[str]) -> list[str]:
    """The names that a key or an end user can have; PostgreSQL refuses some of the others."""
    return [name for name in names if name.isprintable()]


def _changed(connection: sa.Connection) -> None:
    connection.execute(sa.update(changes).values(number=changes.c.number + 1))


def _key(row: sa.Row[Any]) -> Key:
    return Key(**{**row._mapping, "models": tuple(row._mapping["models"])})


def _row(key: Key) -> dict[str, Any]:
    return {column.name: getattr(key, column.name) for column in keys.columns} | {"models": list(key.models)}
