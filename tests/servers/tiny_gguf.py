"""A reranking model of about 100 kB for llama.cpp: a BERT cross-encoder with random weights from a fixed seed.

Its scores mean nothing, but differ from passage to passage.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from string import ascii_lowercase, digits

import gguf
import numpy as np
from numpy.typing import NDArray

CONTEXT = 128
"""Maximum number of tokens of a query and a passage together."""

_WIDTH, _LAYERS, _HEADS = 32, 2, 2
_SPREAD = 0.5
"""Standard deviation of the weights: large, so that scores lie far apart."""
_SEED = 20
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_WORDS = ("the", "of", "is", "in", "to", "what", "capital", "france", "paris", "planet", "red", "river")


def write(path: Path) -> None:
    """Write the model to `path`."""
    writer = gguf.GGUFWriter(path, "bert")
    _add_shape(writer)
    _add_tokenizer(writer)
    for name, tensor in _tensors(np.random.default_rng(_SEED)):
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_shape(writer: gguf.GGUFWriter) -> None:
    writer.add_name("tiny-reranker")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(_WIDTH)
    writer.add_feed_forward_length(2 * _WIDTH)
    writer.add_block_count(_LAYERS)
    writer.add_head_count(_HEADS)
    writer.add_layer_norm_eps(1e-12)
    writer.add_causal_attention(False)
    writer.add_pooling_type(gguf.PoolingType.RANK)


def _add_tokenizer(writer: gguf.GGUFWriter) -> None:
    tokens = _vocabulary()
    kinds = [gguf.TokenType.CONTROL if token in _SPECIAL else gguf.TokenType.NORMAL for token in tokens]
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_type_count(2)
    writer.add_pad_token_id(_SPECIAL.index("[PAD]"))
    writer.add_unk_token_id(_SPECIAL.index("[UNK]"))
    writer.add_bos_token_id(_SPECIAL.index("[CLS]"))
    writer.add_eos_token_id(_SPECIAL.index("[SEP]"))
    writer.add_sep_token_id(_SPECIAL.index("[SEP]"))
    writer.add_mask_token_id(_SPECIAL.index("[MASK]"))


def _vocabulary() -> list[str]:
    """Whole words, and letters that spell any other word; U+2581 marks the start of a word."""
    letters = [*ascii_lowercase, *digits]
    starts = dict.fromkeys([*letters, *".,?!-", *_WORDS])
    return [*_SPECIAL, *(f"\u2581{start}" for start in starts), *letters]


def _tensors(rng: np.random.Generator) -> Iterator[tuple[str, NDArray[np.float32]]]:
    def random(*shape: int) -> NDArray[np.float32]:
        return rng.normal(0, _SPREAD, shape).astype(np.float32)

    def linear(name: str, inputs: int, outputs: int) -> Iterator[tuple[str, NDArray[np.float32]]]:
        yield f"{name}.weight", random(outputs, inputs)
        yield f"{name}.bias", np.zeros(outputs, np.float32)

    def norm(name: str) -> Iterator[tuple[str, NDArray[np.float32]]]:
        yield f"{name}.weight", np.ones(_WIDTH, np.float32)
        yield f"{name}.bias", np.zeros(_WIDTH, np.float32)

    yield "token_embd.weight", random(len(_vocabulary()), _WIDTH)
    yield "position_embd.weight", random(CONTEXT, _WIDTH)
    yield "token_types.weight", random(2, _WIDTH)
    yield from norm("token_embd_norm")
    for layer in range(_LAYERS):
        block = f"blk.{layer}"
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            yield from linear(f"{block}.{part}", _WIDTH, _WIDTH)
        yield from norm(f"{block}.attn_output_norm")
        yield from linear(f"{block}.ffn_up", _WIDTH, 2 * _WIDTH)
        yield from linear(f"{block}.ffn_down", 2 * _WIDTH, _WIDTH)
        yield from norm(f"{block}.layer_output_norm")
    yield from linear("cls", _WIDTH, _WIDTH)
    yield from linear("cls.output", _WIDTH, 1)
