"""The shared adapter core: fields, secrets in dumps, usage, images."""

from anyrerank._adapters.documents import as_list, projected
from anyrerank._adapters.fields import RerankFields
from anyrerank._adapters.images import image_data_url
from anyrerank._adapters.secrets import check_query_string
from anyrerank._adapters.usage import usage_of

__all__ = ["RerankFields", "as_list", "check_query_string", "image_data_url", "projected", "usage_of"]
