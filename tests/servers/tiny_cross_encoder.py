"""A BERT cross-encoder of about 100 kB with random weights, scored by sentence-transformers.

`python tiny_cross_encoder.py FOLDER`, in Infinity's environment, writes the model to FOLDER, reads pairs of a query and
a text from its input and prints their scores: logits, and scores within 0..1. They mean nothing, but lie far apart.
"""

from __future__ import annotations

import json
import sys
from string import ascii_lowercase, digits

import torch
from sentence_transformers import CrossEncoder
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

_CONTEXT = 128
"""Maximum number of tokens of a query and a text together."""
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_WORDS = ("the", "of", "is", "in", "to", "what", "which", "capital", "canada", "planet", "red", "river", "dog", "cat")


def main(folder: str) -> None:
    """Write the model and score the pairs."""
    _tokenizer().save_pretrained(folder)
    _model().save_pretrained(folder)
    pairs = json.load(sys.stdin)
    encoder = CrossEncoder(folder, device="cpu")
    scores = {
        "logits": encoder.predict(pairs, activation_fct=torch.nn.Identity()).tolist(),
        "unit": encoder.predict(pairs, activation_fct=torch.nn.Sigmoid()).tolist(),
    }
    sys.stdout.write(json.dumps(scores))


def _tokenizer() -> PreTrainedTokenizerFast:
    letters = [*ascii_lowercase, *digits]
    vocabulary = dict.fromkeys([*_SPECIAL, *letters, *(f"##{letter}" for letter in letters), *".,?!:'-", *_WORDS])
    numbers = {token: number for number, token in enumerate(vocabulary)}
    tokenizer = Tokenizer(models.WordPiece(numbers, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(token, numbers[token]) for token in ("[CLS]", "[SEP]")],
    )
    names = {f"{token.strip('[]').lower()}_token": token for token in _SPECIAL}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=_CONTEXT, **names)


def _model() -> BertForSequenceClassification:
    torch.manual_seed(58)
    shape = BertConfig(
        vocab_size=len(_tokenizer()),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=_CONTEXT,
        num_labels=1,
        initializer_range=0.5,  # so wide that scores lie far apart
    )
    return BertForSequenceClassification(shape)


if __name__ == "__main__":
    main(*sys.argv[1:])
