"""TLS settings: certificate authorities and client certificates."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import httpx

from anyrerank.errors import ConfigurationError


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
        """The context for both the synchronous and the asynchronous client; read from disk once.

        Raises:
            ConfigurationError: A file cannot be read, or is not a certificate.
        """
        return _context(self)


DEFAULT_TLS = Tls()
"""The default certificate authorities, and no client certificate."""


@lru_cache(maxsize=64)
def _context(tls: Tls) -> ssl.SSLContext:
    try:
        context = _trusting(tls.verify)
        if tls.certificate is not None:
            paths = (tls.certificate,) if isinstance(tls.certificate, str) else tls.certificate
            context.load_cert_chain(*paths)
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"ssl_verify or ssl_certificate cannot be used: {type(error).__name__}; they must be paths of PEM files"
        ) from None
    return context


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
