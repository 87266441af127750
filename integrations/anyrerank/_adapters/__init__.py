"""The code that the adapters for all frameworks share."""

from anyrerank._adapters.checked import CheckedModel
from anyrerank._adapters.documents import as_list, projected, texts_by
from anyrerank._adapters.fields import RerankFields
from anyrerank._adapters.help import lists_fields
from anyrerank._adapters.images import image_data_url, is_image, with_image
from anyrerank._adapters.keywords import AdapterKeywords
from anyrerank._adapters.secrets import check_query_string
from anyrerank._adapters.usage import usage_of

__all__ = [
    "AdapterKeywords",
    "CheckedModel",
    "RerankFields",
    "as_list",
    "check_query_string",
    "image_data_url",
    "is_image",
    "lists_fields",
    "projected",
    "texts_by",
    "usage_of",
    "with_image",
]
