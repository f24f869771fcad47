"""DistilBERT: BERT without token types, whose pooler is rectified.

Source: Sanh et al. 2019 (arXiv 1910.01108); names of weights as transformers has them.
"""

from __future__ import annotations

from deploy.architecture import Architecture, uniform
from elastic.families.family import (
    ACTIVATIONS,
    Config,
    Family,
    Weights,
    classifier,
    masked,
    numbered,
    per_token,
)

_EMBEDDINGS = {
    "tokens": "embeddings.word_embeddings",
    "positions": "embeddings.position_embeddings",
    "norm": "embeddings.LayerNorm",
}
_ATTENTION = {
    "query": "attention.q_lin",
    "key": "attention.k_lin",
    "value": "attention.v_lin",
    "output": "attention.out_lin",
    "norm": "sa_layer_norm",
}
_FEED_FORWARD = {"up": "ffn.lin1", "down": "ffn.lin2", "norm": "output_layer_norm"}


def _shape(config: Config) -> Architecture:
    return uniform(
        config.get("n_layers", 6),
        config.get("dim", 768),
        config.get("n_heads", 12),
        config.get("hidden_dim", 3072),
        activation=ACTIVATIONS[config.get("activation", "gelu")],
        vocabulary=config.get("vocab_size", 30522),
        positions=config.get("max_position_embeddings", 512),
        token_types=1,
    )


def _modules(architecture: Architecture) -> dict[str, str]:
    layers = len(architecture.operators) // 2
    return _EMBEDDINGS | numbered((_ATTENTION, _FEED_FORWARD), layers, "transformer.layer.{}")


def _adjust(weights: Weights, _config: Config) -> None:
    weights["token_types.weight"] = weights["tokens.weight"].new_zeros(
        1, weights["tokens.weight"].shape[1]
    )


FAMILY = Family(
    name="DistilBERT",
    bare="DistilBertModel",
    heads={
        "DistilBertForSequenceClassification": classifier("pre_classifier", "classifier", "relu"),
        "DistilBertForTokenClassification": per_token("token-classification", "classifier"),
        "DistilBertForQuestionAnswering": per_token("question-answering", "qa_outputs"),
        "DistilBertForMaskedLM": masked("vocab_transform", "vocab_layer_norm", "vocab_projector"),
    },
    prefix="distilbert.",
    headless=(),
    shape=_shape,
    modules=_modules,
    activation="activation",
    dropout="dropout",
    adjust=_adjust,
)
