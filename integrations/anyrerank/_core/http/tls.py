"""TLS settings: certificate authorities and client certificates."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import httpx

from anyrerank.errors import ConfigurationError

VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR")
"""Environment variables with the certificate authorities; the first one that is set counts."""


@dataclass(frozen=True, slots=True)
class _Source:
    """Certificate authorities: the option or variable that names them, and their path."""

    name: str
    path: str


@dataclass(frozen=True, slots=True)
class Tls:
    """TLS settings of connections.

    Attributes:
        verify: `True` for those of `SSL_CERT_FILE` or `SSL_CERT_DIR`, otherwise those in `certifi`; the path of a
            file or folder of certificate authorities; or `False` to trust any server.
        certificate: Path of a PEM file with a client certificate and its key, or a pair of paths.
    """

    verify: bool | str = True
    certificate: str | tuple[str, str] | None = None

    @classmethod
    def from_options(cls, ssl_verify: bool | str | None, ssl_certificate: str | tuple[str, str] | None) -> Tls:
        """The settings for the options of the same names.

        Raises:
            ConfigurationError: A file cannot be read, or is not a certificate.
        """
        tls = cls(True if ssl_verify is None else ssl_verify, ssl_certificate)
        if tls != DEFAULT_TLS:
            tls.context()
        return tls

    def context(self) -> ssl.SSLContext:
        """The context for both the synchronous and the asynchronous client, for the environment as it is now.

        Files are read again only if they, or the variable, have changed.

        Raises:
            ConfigurationError: A file cannot be read, or is not a certificate.
        """
        source, own = _authorities(self.verify), self._certificates
        files = own if source is None else (source.path, *own)
        return _context(self.verify, source, own, tuple(map(_changed, files)))

    @property
    def _certificates(self) -> tuple[str, ...]:
        """The paths of the client certificate."""
        return (self.certificate,) if isinstance(self.certificate, str) else self.certificate or ()


DEFAULT_TLS = Tls()
"""The default certificate authorities, and no client certificate."""


def _authorities(verify: bool | str) -> _Source | None:
    """Where the certificate authorities come from; `None` for those in `certifi`, or for any server."""
    if isinstance(verify, str):
        return _Source("ssl_verify", verify)
    named = (_Source(name, os.environ[name]) for name in VARIABLES if verify and os.environ.get(name))
    return next(named, None)


def _changed(path: str) -> int | None:
    """When a file was changed, or `None` if there is none."""
    try:
        return Path(path).stat().st_mtime_ns
    except (OSError, ValueError):
        return None


@lru_cache(maxsize=64)
def _context(
    verify: bool | str, source: _Source | None, own: tuple[str, ...], _changes: tuple[int | None, ...]
) -> ssl.SSLContext:
    try:
        context = _trusting(verify)
    except (OSError, ValueError) as error:
        if source is None:
            raise
        raise _unusable(source, error) from None
    try:
        if own:
            context.load_cert_chain(*own)
    except (OSError, ValueError) as error:
        path = next((each for each in own if not Path(each).is_file()), own[0])
        raise _unusable(_Source("ssl_certificate", path), error) from None
    return context


def _unusable(source: _Source, error: Exception) -> ConfigurationError:
    reason = "there is no such file" if isinstance(error, FileNotFoundError) else type(error).__name__
    return ConfigurationError(
        f"{source.name} cannot be used: {source.path}: {reason}; it must be the path of a PEM file"
    )


def _trusting(verify: bool | str) -> ssl.SSLContext:
    if verify is True:
        return httpx.create_ssl_context()
    if verify is False:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    if Path(verify).is_dir():
        return ssl.create_default_context(capath=verify)
    return ssl.create_default_context(cafile=verify)
