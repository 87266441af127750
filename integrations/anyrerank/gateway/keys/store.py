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
from anyrerank.gateway.keys.key import Key, name_of, new_secret, token_of
from anyrerank.gateway.keys.tables import changes, customers, deleted_keys, keys


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

    def create(self, columns: Mapping[str, Any], now: float, secret: str | None = None) -> tuple[str, Key]:
        """Make a key, and return its secret, which is not stored.

        Args:
            columns: What it may do.
            now: Seconds since 1970.
            secret: One that was chosen; `None` for a new one.

        Raises:
            GatewayError: Another key has this alias or this secret.
        """
        secret = secret or new_secret()
        return secret, self.add({**columns, "token": token_of(secret), "key_name": name_of(secret)}, now)

    def add(self, columns: Mapping[str, Any], now: float) -> Key:
        """Add a key of which only the token and the name are known.

        Raises:
            GatewayError: Another key has this alias or this token.
        """
        key = Key(**{**columns, "created_at": now, "updated_at": now})
        with _unique_alias(), self.database.begin() as connection:
            _refuse_known(connection, key.token)
            connection.execute(sa.insert(keys).values(**_row(key)))
            _changed(connection)
        return key

    def regenerate(self, token: str, columns: Mapping[str, Any], now: float, secret: str) -> Key | None:
        """Give a key another secret, and return it; `None` if there is none. The old secret is refused from then on.

        Raises:
            GatewayError: Another key has this secret, or an alias in `columns`.
        """
        with self.database.begin() as connection:
            _refuse_known(connection, token_of(secret))
            found = connection.execute(sa.select(keys.c.first_token).where(keys.c.token == token)).first()
        if found is None:
            return None
        new = {"token": token_of(secret), "key_name": name_of(secret), "first_token": found.first_token or token}
        return self.update(token, {**columns, **new}, now)

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
            now_token = values.get("token", token)
            return _key(connection.execute(sa.select(keys).where(keys.c.token == now_token)).one())

    def delete(self, tokens: Sequence[str], aliases: Sequence[str], now: float) -> list[Key]:
        """Remove keys, and return those that there were. Their names stay, for what they have spent."""
        which = sa.or_(keys.c.token.in_(tokens), keys.c.key_alias.in_(_printable(aliases)))
        with self.database.begin() as connection:
            found = [_key(row) for row in connection.execute(sa.select(keys).where(which))]
            connection.execute(sa.delete(keys).where(which))
            identities = [each.identity for each in found]
            connection.execute(sa.delete(deleted_keys).where(deleted_keys.c.first_token.in_(identities)))
            for key in found:
                row = {"first_token": key.identity, "key_name": key.key_name, "key_alias": key.key_alias}
                connection.execute(sa.insert(deleted_keys).values(**row, deleted_at=now))
            _changed(connection)
        return found

    def deleted(self) -> list[Key]:
        """The keys that were removed, of which only the names are known."""
        with self.database.begin() as connection:
            return [
                Key(token=row.first_token, key_name=row.key_name, key_alias=row.key_alias)
                for row in connection.execute(sa.select(deleted_keys))
            ]

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


def _refuse_known(connection: sa.Connection, token: str) -> None:
    """Raise if there is a key with a token, or was one: what that has spent would be the new one's.

    Raises:
        GatewayError: There is.
    """
    is_of_a_key = sa.or_(keys.c.token == token, keys.c.first_token == token)
    if connection.execute(sa.select(keys.c.token).where(is_of_a_key)).first() is not None:
        raise bad_request("there is such a key already: change it with /key/update, or choose another one", "key")
    was_a_key = deleted_keys.c.first_token == token
    if connection.execute(sa.select(deleted_keys.c.first_token).where(was_a_key)).first() is not None:
        raise bad_request("this key was revoked: choose another one", "key")


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
