"""What the adapters of all frameworks share."""

from anyrerank._adapters.fields import (
    Admitted,
    RerankFields,
    admitted,
    image_data_url,
    listed,
    projected,
    unchecked,
    usage_of,
)

__all__ = ["Admitted", "RerankFields", "admitted", "image_data_url", "listed", "projected", "unchecked", "usage_of"]
