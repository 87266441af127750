"""`anyrerank serve`."""

from __future__ import annotations

import json
import logging
import shlex
import time
from collections.abc import Mapping, Sequence
from contextlib import closing, nullcontext, suppress
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from socket import socket
from typing import TYPE_CHECKING, Annotated

import typer

import anyrerank
from anyrerank.cli.errors import one_line_errors
from anyrerank.cli.output import without_control_characters
from anyrerank.cli.services import refuse_missing_extras
from anyrerank.errors import ConfigurationError, RerankError, StateUnavailableError

if TYPE_CHECKING:
    from anyrerank.gateway import Gateway, Service
    from anyrerank.gateway.configuration import GatewayConfig
    from anyrerank.gateway.workers import Worker

_DEFAULT_MODEL = "local/lexical"


def serve(
    *,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="A configuration file of LiteLLM's.", show_default=False)
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            metavar="[NAME=]PROVIDER/MODEL",
            help=f"A model to serve without a file. May be repeated. Default: {_DEFAULT_MODEL}.",
            show_default=False,
        ),
    ] = None,
    host: Annotated[str, typer.Option("--host", help="The address to listen on.")] = "127.0.0.1",
    database_url: Annotated[
        str | None,
        typer.Option(
            "--database-url", help="Database of keys and spend; replaces that of the file.", show_default=False
        ),
    ] = None,
    redis_url: Annotated[
        str | None,
        typer.Option(
            "--redis-url",
            help="Where replicas share budgets, limits and cooldowns; replaces that of the file.",
            show_default=False,
        ),
    ] = None,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="The port; 0 for a free one.")] = 4000,
    workers: Annotated[
        int, typer.Option("--workers", "--num_workers", min=1, help="Processes that serve the address; needs Redis.")
    ] = 1,
    rolling_change: Annotated[
        bool,
        typer.Option(
            "--rolling-change",
            envvar="ANYRERANK_ROLLING_CHANGE",
            help="Start also while replicas that run have other models, limits, budgets or guardrails.",
        ),
    ] = False,
) -> None:
    """Serve models to every rerank client over HTTP: LiteLLM's, Cohere's, Jina's, Voyage's, TEI's, NIM's and others.

    SIGHUP reads the file again.
    """
    arguments = _Arguments(
        config,
        tuple(model or ()),
        host,
        {"database_url": database_url, "redis_url": redis_url},
        is_rolling_change=rolling_change,
    )
    with one_line_errors(extra="gateway"):
        from anyrerank.gateway.server import bind, check_host
        from anyrerank.gateway.weaknesses import short_master_key
        from anyrerank.gateway.workers import run_workers

        if config is not None and model:
            raise ConfigurationError("--config and --model exclude each other")
        check_host(host)
        read = arguments.read()
        refuse_missing_extras(read.settings)
        if workers > 1:
            _check(read, workers, is_rolling_change=rolling_change)
        listener = bind(host, port)
    for note in _notes(read):
        typer.echo(note, err=True)
    if not _is_loopback(host) and (weakness := short_master_key(read.settings)) is not None:
        typer.echo(f"warning: {weakness}", err=True)
    _log_with_time()
    with listener:
        if workers == 1:
            _serve(arguments, read, listener)
        else:
            run_workers(workers, listener, lambda worker: _serve(arguments, read, listener, worker))
    typer.echo("stopped")


@dataclass(frozen=True, slots=True)
class _Arguments:
    """The arguments of the command."""

    config: Path | None
    models: tuple[str, ...]
    host: str
    settings: Mapping[str, str | None]
    is_rolling_change: bool

    def read(self) -> GatewayConfig:
        """The configuration, if it may be served on this address."""
        return _read(self.config, self.models, self.host).with_settings(self.settings)


def _check(read: GatewayConfig, workers: int, *, is_rolling_change: bool) -> None:
    """Raise if workers cannot serve a configuration, before any of them starts."""
    from anyrerank.gateway.configuration import service_of, shared_state
    from anyrerank.gateway.keys import opened

    if read.settings.redis_url is None:
        raise ConfigurationError(
            f"--workers {workers} needs --redis-url: without it, each worker would allow all that a key allows"
        )
    state = shared_state(read.settings)
    keyring = opened(read.settings, state, is_rolling_change=is_rolling_change)
    with nullcontext() if keyring is None else closing(keyring), nullcontext() if state is None else closing(state):
        service_of(read, keyring, state=state)


def _serve(arguments: _Arguments, read: GatewayConfig, listener: socket, worker: Worker | None = None) -> None:
    """Serve until a signal says to stop."""
    from anyrerank.gateway import Gateway
    from anyrerank.gateway.configuration import service_of, shared_state
    from anyrerank.gateway.keys import opened
    from anyrerank.gateway.server import Server, keep_what_is_loaded

    def announce(text: str) -> None:
        typer.echo(without_control_characters(" ".join(text.split())), err=True)

    with one_line_errors(extra="gateway"):
        state = shared_state(read.settings, check=worker is None)  # or a worker could not be replaced without Redis
        # All workers were checked before: one that is replaced must start, whatever other replicas have by then.
        allowed = arguments.is_rolling_change or worker is not None
        keyring = opened(read.settings, state, is_rolling_change=allowed)

        def reread() -> Service:
            found = arguments.read()
            service = service_of(found, keyring, gateway.service, state)
            for note in _notes(found):
                announce(note)
            return service

        gateway = Gateway(service_of(read, keyring, state=state), reread=reread, state=state, announce=announce)
    if worker is not None:
        gateway.join(worker)
    speaks = worker is None or worker.is_first
    for fault in _faults(gateway) if speaks else ():
        typer.echo(fault, err=True)

    def started(url: str) -> None:
        keep_what_is_loaded()
        if speaks:
            _print_start(url, gateway)
            typer.echo(f"keys and spend: {'not kept' if keyring is None else keyring.store.database}")
            if state is not None:
                typer.echo(f"shared with replicas: {state.link.shown}")
            elif (count := read.settings.replicas) > 1:
                typer.echo(
                    "shared with replicas: keys and budgets, through the database; each replica has "
                    f"1/{count} of every limit per minute, and cooldowns of its own (set redis_url to share these too)"
                )

    def reload() -> None:
        with suppress(RerankError):  # it was announced
            gateway.reload()

    with (
        one_line_errors(),
        nullcontext() if keyring is None else closing(keyring),
        nullcontext() if state is None else closing(state),
    ):
        Server(gateway, started=started, reload=reload).run([listener])


def _read(config: Path | None, models: Sequence[str], host: str) -> GatewayConfig:
    """The configuration, if it may be served on this address."""
    from anyrerank.gateway.configuration import config_of_file, config_of_models

    found = config_of_models(models or [_DEFAULT_MODEL]) if config is None else config_of_file(config)
    if found.settings.master_key is None and not _is_loopback(host):
        raise ConfigurationError(
            f"--host {host} lets other machines in, and there is no master key: set general_settings.master_key or the "
            "environment variable LITELLM_MASTER_KEY"
        )
    return found


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _log_with_time() -> None:
    """Let warnings begin with their time in UTC: they are read long after."""
    formatter = logging.Formatter("%(asctime)sZ warning: %(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    for handler in logging.getLogger("anyrerank").handlers:
        handler.setFormatter(formatter)


def _notes(config: GatewayConfig) -> list[str]:
    """Lines about entries and settings of the file that are not used."""
    from anyrerank.gateway.configuration import lost_telemetry

    notes = []
    if config.left_out:
        notes.append(f"left out: {'; '.join(map(str, config.left_out))}")
    for name, spares in config.absent.spares.items():
        notes.append(f"{name} has no deployment left, and its fallbacks answer: {', '.join(spares)}")
    if config.ignored:
        notes.append(f"ignored settings: {', '.join(config.ignored)}")
    if (lost := lost_telemetry(config.router.get("hooks", ()))) is not None:
        notes.append(f"warning: {lost}")
    return notes


def _faults(gateway: Gateway) -> list[str]:
    """Lines about the models that cannot be called now, prices that are missing, and a cache that does not work."""
    from anyrerank.cache import RedisCache
    from anyrerank.gateway.weaknesses import weaknesses_of

    notes = []
    cache = gateway.service.router.options.cache
    if isinstance(cache, RedisCache):
        try:
            cache.check()
        except StateUnavailableError as error:
            notes.append(f"warning: cache: {error.message}")
    return [*notes, *(f"warning: {each}" for each in weaknesses_of(gateway.service.router))]


def _print_start(url: str, gateway: Gateway) -> None:
    service = gateway.service
    names = service.router.model_names
    body = {"model": names[0], "query": "Which planet is red?", "documents": ["Venus is bright.", "Mars is red."]}
    key = "" if service.settings.master_key is None else " -H 'Authorization: Bearer YOUR_MASTER_KEY'"
    typer.echo(f"anyrerank {anyrerank.__version__} listens on {url}")
    typer.echo(f"models: {', '.join(names)}")
    if not key:
        typer.echo("no master key is set: only this machine is answered")
    typer.echo(f"try: curl {url}/rerank{key} -d {shlex.quote(json.dumps(body))}")
