"""The gateway: an HTTP service that answers every rerank client's dialect through a `Router`.

`anyrerank serve` starts it. Needs `pip install 'anyrerank[gateway]'`.
"""

from anyrerank.gateway.app import Gateway, application
from anyrerank.gateway.service import Service
from anyrerank.gateway.settings import GatewaySettings

__all__ = ["Gateway", "GatewaySettings", "Service", "application"]
