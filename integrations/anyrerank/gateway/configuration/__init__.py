"""From a configuration file, or from names of models, to what a gateway serves."""

from anyrerank.gateway.configuration.config import (
    GatewayConfig,
    config_of_file,
    config_of_models,
    service_of,
    shared_state,
)

__all__ = ["GatewayConfig", "config_of_file", "config_of_models", "service_of", "shared_state"]
