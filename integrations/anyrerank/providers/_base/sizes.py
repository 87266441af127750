"""Whether the words of a refusal speak of the size of the request, so that fewer documents could pass.

Vendors and servers word this in many ways, and the message is all that tells it from another mistake. So a message
speaks of size if it names something that a request has much of, and a limit or a comparison, and nothing else that has
limits, such as a quota. Asking with fewer documents costs little: if that does not help either, only the first half of
each half has been sent.
"""

from __future__ import annotations

import re

_THING = re.compile(
    r"token|docu?ment|passage|text|input|prompt|item|element|entr(?:y|ies|ée|ada)|batch|length|sequence|context|char"
    r"|byte|record|source|chunk|payload|body|entity|array|list|pair|window|size|position|tensor|\blen\b|_len\b"
    r"|\d ?[km]b\b|kv.?cache|index out of range in self|dokument|eingabe|anfrage|zeichen|longueur|requête|requete|texto"
    r"|consulta|文档|文本|输入|长度|请求|内容|ドキュメント|入力|文書|トークン"
    r"|문서|입력|텍스트|토큰|документ|текст|запрос"
)
_LIMIT = re.compile(
    r"too (?:large|long|many|big|much)|exceed|limit|max|at most|up to|at a time|overflow|capacity|insufficient"
    r"|(?:more|longer|larger|greater|bigger|less|fewer|smaller|shorter|lower|higher) than|no more|[<>≤≥]"
    r"|or (?:less|fewer|lower|under|below)|out of range|range\b.*\d|between \d+ and \d|\d+ ?(?:-|to|\.\.\.?) ?\d"
    r"|\[\d+, ?\d+\]|(?:over|under|below|above|use|accepts?|supports?|allows?|allowed|permits?|only) (?:\w+ ){0,2}\d"
    r"|allowed\D{0,30}\d|shorten|fewer|smaller|shorter|reduce|split|\bfit\b|must match the existing size|cache space"
    r"|zu (?:gro|lang|viel)|höchstens|hoechstens|maximal|überschr|ueberschr|trop|dépass|depass|au plus|demasiad"
    r"|excede|supera|超过|超出|过长|过大|过多|太长|太多|太大|上限|最多|最大|超え|すぎ|以下"
    r"|초과|너무|이하|слишком|превыш|не более"
)
_OTHER = re.compile(
    r"quota|credit|balance|billing|budget|spen[dt]|rate.?limit|per (?:min|second|hour|day)|\b[rt]p[mds]\b|concurren"
    r"|overload|time limit|time-?out|timed out|deadline|retries|retry|top_?[nk]\b|max_(?:tokens|chunks)_per_doc"
    r"|at least (?:1|one)\b|empty|string should have|priority|temperature|余额|额度|频率"
)
"""What else has limits."""
_OUT_OF_MEMORY = re.compile(
    r"out ?of ?memory|(?:no|not enough|insufficient) (?:\w+ )?memory|allocate (?:\w+ )?memory|alloc_?failed|bad_?alloc"
    r"|\boom\b|(?:failed|unable|cannot|can't|could not) (?:to )?allocate|memoryerror|显存不足|内存不足"
)
"""What servers write in a 5xx when the memory of a GPU, or of the machine, is too small for the request."""


def speaks_of_size(message: str) -> bool:
    """Whether `message`, which is in lower case, speaks of the size of the request."""
    return bool(_THING.search(message) and _LIMIT.search(message)) and not _OTHER.search(message)


def has_no_memory(message: str) -> bool:
    """Whether `message`, which is in lower case, says that memory was too small for the request."""
    return bool(_OUT_OF_MEMORY.search(message))
