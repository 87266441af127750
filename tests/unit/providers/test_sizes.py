"""Which refusals speak of the size of a request, in the words of vendors and servers."""

import pytest

from anyrerank.providers._base.sizes import has_no_memory, speaks_of_size

SIZES = """\
This model's maximum context length is 512 tokens. However, your prompt contains at least 700 input tokens.
This model's maximum context length is 512 tokens. However, you requested 600 tokens in the input.
Make sure that `max_model_len` is no smaller than the number of text tokens
batch size 33 > maximum allowed batch size 32
Input validation error: `inputs` must have less than 512 tokens. Given: 700
[request id: <id_unknown>] inference request batch-size must be <= 8 for 'reranker'
inference request to model 'x' batch-size must be <= 8
The number of passages exceeds the maximum allowed of 512
Input length 600 exceeds maximum allowed token size 512
too many documents: max number of documents is 1000
The max allowed tokens per submitted batch is 300000. Your batch has 310000 tokens after truncation.
List should have at most 2048 items after validation, not 3000
Malformed input request: #/documents: expected maxItems: 1000, found 1200, please reformat your input and try again.
Value at 'sources' failed to satisfy constraint: Member must have length less than or equal to 1000
ValidationException: Too many input tokens. Max input tokens: 8192, request input token count: 9000
Request contains 101 documents, but the model supports 100
Token sequence length of input exceeds model max (512)
The number of records should be between 1 and 200
Payload reached size limit.
the request exceeds the available context size. try increasing the context size or enable context shift
The input (9000 tokens) is longer than the model's context length (8192 tokens).
number of documents must be 64 or lower
documents: must contain 64 items or under
total tokens must stay below 8192
documents must stay under 512 tokens
documents cannot be over 512 tokens
Documents must contain 1-64 items
size must be in [1, 64]
documents must have 1 to 64 entries
The document limit is 64
limited to 64 documents per call
allowed number of documents: 64
a batch of 100 is not allowed; use 64
the input does not fit into the model's window
inputs won't fit in the context window
Token indices sequence length is longer than the specified maximum sequence length for this model (700 > 512)
The expanded size of the tensor (700) must match the existing size (512) at non-singleton dimension 1
index out of range in self
sequence length 700 out of range
Die Anzahl der Dokumente ist zu groß
Die Eingabe ist zu lang für dieses Modell
Zu viele Dokumente: höchstens 64 sind erlaubt
maximal 64 Dokumente pro Anfrage
Die Anfrage überschreitet das Limit von 512 Tokens
Le nombre de documents dépasse la limite
trop de documents
demasiados documentos
el texto es demasiado largo
ドキュメント数が上限を超えています
入力が長すぎます
입력이 너무 깁니다
文档数量超过限制
слишком много документов
input tokens (9000) > limit (8192)
prompt is too long: 9000 tokens > 8192 maximum
Range of input length should be [1, 30720]
InvalidParameter: documents size must be between 1 and 500
Exceeded maximum request size of 4 MB
request entity too large
string_above_max_length
array_above_max_length
value_error.list.max_items
ensure this value has at most 64 items
ensure this value has less than 64 items
context_length_exceeded
Requested tokens (9000) exceed context window of 4096
input_tokens_exceeded
max_position_embeddings is 512 but got 700
max_batch_size is 32, got 100
max_num_batched_tokens=8192 is smaller than the input
max_client_batch_size is 32
Query and document pair is larger than the 8k window
expected no more than 64 documents
you can rerank 64 documents at a time
The server accepts 64 documents per request
Number of texts (100) is greater than the server's capacity (64)
documents array length 100 is invalid; valid range is 1..64
reduce your prompt
shorten the documents
split your request into smaller batches
the batch must be smaller
try fewer documents
body is larger than 1048576 bytes
insufficient KV cache space for the request
text exceeds 32000 chars
temporary failure: the request has 100 passages; the limit of this endpoint is 64
"""
OTHERS = """\
no such model: rerank-x
model does not support reranking
content filter triggered
your quota is exceeded
you have exceeded your monthly budget
insufficient credit balance
rate limit exceeded: 10 per minute
top_n must be at most 100
max_tokens_per_doc must be less than 8192
top_k exceeds the number of documents
String should have at least 1 character
query must not be empty
field required: query
invalid api key
documents must be a list of strings
priority must be between 0 and 10
temperature must be at most 2
truncate must be one of NONE, END
max_chunks_per_doc is not supported
request timed out after 30 seconds
return_documents is not supported
threshold must be between 0 and 1
query is blank
unsupported api version 2024
the maximum number of concurrent requests is reached
model is overloaded, please retry later
too many requests
maximum retries exceeded
deadline exceeded
spend limit reached for this key
Key limit exceeded (total limit)
"""


@pytest.mark.parametrize("message", SIZES.splitlines())
def test_size_is_recognised(message: str) -> None:
    assert speaks_of_size(message.lower())


@pytest.mark.parametrize("message", OTHERS.splitlines())
def test_other_refusal_is_not_a_size(message: str) -> None:
    assert not speaks_of_size(message.lower())


@pytest.mark.parametrize(
    "message",
    [
        "CUDA out of memory. Tried to allocate 2.00 GiB",
        "Unable to allocate 12.0 GiB for an array",
        "std::bad_alloc",
        "RuntimeError: failed to allocate buffer",
        "insufficient GPU memory",
        "MemoryError",
        "显存不足",
    ],
)
def test_lack_of_memory_is_recognised(message: str) -> None:
    assert has_no_memory(message.lower())
