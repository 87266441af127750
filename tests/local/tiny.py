"""A tiny BERT cross-encoder with random weights, and its scores as transformers computes them."""

from __future__ import annotations

import string
from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    PreTrainedTokenizerFast,
)

WINDOW = 64
_SPECIAL = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}


def make(folder: Path, *, labels: int = 1, bias: float = 0.0) -> Path:
    """Write a model and its tokenizer, which knows letters, into `folder`."""
    letters = [form for letter in string.ascii_lowercase + string.digits for form in (letter, f"##{letter}")]
    vocabulary = {token: number for number, token in enumerate([*_SPECIAL.values(), *letters])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(name, vocabulary[name]) for name in ("[CLS]", "[SEP]")],
    )
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=WINDOW, **_SPECIAL).save_pretrained(folder)
    torch.manual_seed(7)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=WINDOW,
        num_labels=labels,
        pad_token_id=0,
        initializer_range=0.5,
    )
    model = BertForSequenceClassification(config)
    torch.nn.init.constant_(model.classifier.bias, bias)
    model.save_pretrained(folder)
    return folder


def logits(folder: Path, query: str, texts: Sequence[str], *, length: int = WINDOW) -> list[float]:
    """The logit of each text, one at a time."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    found = []
    for text in texts:
        inputs = tokenizer(query, text, truncation=True, max_length=length, return_tensors="pt")
        with torch.inference_mode():
            found.append(float(model(**inputs).logits[0, 0]))
    return found
