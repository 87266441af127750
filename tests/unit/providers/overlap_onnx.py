"""A cross-encoder that can be checked by hand: its logit is the number of words of the document that the query has."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from onnx import ModelProto, TensorProto, checker, helper, numpy_helper, save
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

WINDOW = 48
_WORDS = ["which", "city", "is", "the", "capital", "of", "canada", "ottawa", "lisbon", "portugal", "sydney", "river"]
_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]


def make(folder: Path, *, file: str = "onnx/model.onnx", last: str = "Identity", labels: int = 1) -> Path:
    """Write the model and its tokenizer into `folder`.

    Args:
        folder: Created if it does not exist.
        file: Path of the model in it.
        last: The operation that is applied to the logit.
        labels: The number of equal logits in the output.
    """
    (folder / file).parent.mkdir(parents=True, exist_ok=True)
    _tokenizer().save(str(folder / "tokenizer.json"))
    config = {"model_max_length": WINDOW, "pad_token": "[PAD]"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    save(_model(last, labels), str(folder / file))
    return folder


def _tokenizer() -> Tokenizer:
    vocabulary = {word: number for number, word in enumerate([*_SPECIAL, *_WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(name, vocabulary[name]) for name in ("[CLS]", "[SEP]")],
    )
    return tokenizer


def _model(last: str, labels: int) -> ModelProto:
    node = helper.make_node
    nodes = [
        node("Unsqueeze", ["input_ids", "two"], ["down"]),
        node("Unsqueeze", ["input_ids", "one"], ["across"]),
        node("Equal", ["down", "across"], ["same"]),  # [pair, position, other position]
        node("Greater", ["input_ids", "last_special"], ["word"]),
        node("Cast", ["token_type_ids"], ["second"], to=TensorProto.BOOL),
        node("Not", ["second"], ["first"]),
        node("And", ["word", "first"], ["query_word"]),
        node("And", ["word", "second"], ["read"]),
        node("Unsqueeze", ["query_word", "one"], ["query_word_across"]),
        node("And", ["same", "query_word_across"], ["hits"]),
        node("Cast", ["hits"], ["hits_as_numbers"], to=TensorProto.FLOAT),
        node("ReduceMax", ["hits_as_numbers", "two"], ["hit"], keepdims=0),
        node("Cast", ["read"], ["read_as_numbers"], to=TensorProto.FLOAT),
        node("Mul", ["hit", "read_as_numbers"], ["counted"]),
        node("ReduceSum", ["counted", "one"], ["count"], keepdims=1),
        node(last, ["count"], ["logit"]),
        node("Concat", ["logit"] * labels, ["logits"], axis=1),
    ]
    constants = {"one": np.array([1]), "two": np.array([2]), "last_special": np.array(len(_SPECIAL) - 1)}
    value = helper.make_tensor_value_info
    names = ("input_ids", "attention_mask", "token_type_ids")
    graph = helper.make_graph(
        nodes,
        "overlap",
        [value(name, TensorProto.INT64, ["pairs", "places"]) for name in names],
        [value("logits", TensorProto.FLOAT, ["pairs", labels])],
        [numpy_helper.from_array(array.astype(np.int64), name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    checker.check_model(model)
    return model
