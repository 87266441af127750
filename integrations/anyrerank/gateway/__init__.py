"""The gateway: an HTTP service that answers every rerank client's dialect through a `Router`.

`anyrerank serve` starts it. Needs `pip install 'anyrerank[gateway]'`.
"""

from anyrerank.errors import MissingExtraError

try:
    import prometheus_client  # noqa: F401
    import sqlalchemy  # noqa: F401
    import starlette  # noqa: F401
    import uvicorn  # noqa: F401
except ImportError as error:
    raise MissingExtraError(f"the gateway needs {error.name}: pip install 'anyrerank[gateway]'") from error

from anyrerank.gateway.app import Gateway, application
from anyrerank.gateway.rerank import Service
from anyrerank.gateway.settings import GatewaySettings

__all__ = ["Gateway", "GatewaySettings", "Service", "application"]
