"""Opening the keys and the ledger of a gateway."""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack, closing

from anyrerank.errors import ConfigurationError, RerankError
from anyrerank.gateway.keys.database import Database, DatabaseError
from anyrerank.gateway.keys.keyring import Keyring
from anyrerank.gateway.keys.location import checked_url, default_url
from anyrerank.gateway.keys.sharing import sharing_of
from anyrerank.gateway.keys.sharing_check import DisagreementError, check_others, way_of_sharing
from anyrerank.gateway.keys.store import Store
from anyrerank.gateway.settings import GatewaySettings
from anyrerank.ledger import Ledger
from anyrerank.state import RedisState

_log = logging.getLogger("anyrerank.gateway")

_NAMING_SECONDS, _PAUSE = 3.0, 0.25
"""How long gateways have to write the name of a Redis again that has just lost it."""


def opened(
    settings: GatewaySettings, state: RedisState | None = None, *, is_rolling_change: bool = False
) -> Keyring | None:
    """The keys of a gateway, ready for requests; `None` if it has to do without.

    It does without if the default database cannot be opened, or if one that is configured cannot and
    `allow_requests_on_db_unavailable` is set. Then only the master key is valid, and nothing is recorded; a warning
    says so.

    Args:
        settings: Those of the gateway.
        state: What it shares with its replicas.
        is_rolling_change: Whether replicas may have another configuration.

    Raises:
        ConfigurationError: The database that was asked for cannot be opened.
    """
    asked = settings.database_url is not None
    try:
        url = settings.database_url.get_secret_value() if settings.database_url else default_url()
        return _opened(settings, url, state, is_rolling_change=is_rolling_change)
    except DisagreementError:
        raise
    except (DatabaseError, RerankError) as error:
        needed = asked or settings.trusted_networks or state is not None or settings.replicas > 1
        if needed and not settings.allow_requests_on_db_unavailable:
            if isinstance(error, ConfigurationError):
                raise
            raise ConfigurationError(
                f"{error}; the gateway needs it for keys and spend: check database_url, and that the server runs"
            ) from None
        _log.warning("%s; only the master key is valid, and nothing is recorded", error)
        return None


def _opened(settings: GatewaySettings, url: str, state: RedisState | None, *, is_rolling_change: bool) -> Keyring:
    with ExitStack() as opening:
        database = _database(settings, url, state, is_rolling_change=is_rolling_change)
        opening.enter_context(closing(database))
        ledger = opening.enter_context(Ledger(database.url.render_as_string(hide_password=False)))
        master = settings.master_key
        keyring = Keyring(
            Store(database),
            ledger,
            master_key=None if master is None else master.get_secret_value(),
            networks=settings.trusted_networks,
            max_parallel_requests=settings.max_parallel_requests,
            sharing=sharing_of(settings, state, database, is_rolling_change=is_rolling_change),
        )
        keyring.start()
        opening.pop_all()  # nothing failed, so that it stays open
    return keyring


def _database(settings: GatewaySettings, url: str, state: RedisState | None, *, is_rolling_change: bool) -> Database:
    """The database of the keys, if all gateways that use it share their state in the same way.

    Where they do not seem to, this looks again for a while: a Redis that has just lost its data has another name until
    the gateways that run write it again.
    """
    ends = time.monotonic() + (0.0 if state is None else _NAMING_SECONDS)
    while True:
        is_last = time.monotonic() >= ends
        way = way_of_sharing(settings, state)
        with ExitStack() as opening:
            database = opening.enter_context(closing(Database(checked_url(url), way)))
            database.prepare()
            try:
                check_others(database, way, is_rolling_change=is_rolling_change and is_last)
            except DisagreementError:
                if is_last:
                    raise
            else:
                opening.pop_all()
                return database
        time.sleep(_PAUSE)
