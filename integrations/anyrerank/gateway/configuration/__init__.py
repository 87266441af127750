"""The configuration of a gateway, from a file or from names of models."""

from anyrerank.gateway.configuration.callbacks import lost_telemetry
from anyrerank.gateway.configuration.config import (
    GatewayConfig,
    config_of_file,
    config_of_models,
    service_of,
    shared_state,
)

__all__ = ["GatewayConfig", "config_of_file", "config_of_models", "lost_telemetry", "service_of", "shared_state"]
