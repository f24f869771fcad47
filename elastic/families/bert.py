"""BERT.

Source: Devlin et al. 2019 (arXiv 1810.04805); names of weights as transformers has them.
"""

from __future__ import annotations

from typing import Any

from deploy.architecture import Architecture, Attention, FeedForward, uniform
from devices.errors import UsageError
from elastic.families.family import (
    ACTIVATIONS,
    Config,
    Family,
    classifier,
    masked,
    numbered,
    per_token,
)

EMBEDDINGS = {
    "tokens": "embeddings.word_embeddings",
    "positions": "embeddings.position_embeddings",
    "token_types": "embeddings.token_type_embeddings",
    "norm": "embeddings.LayerNorm",
}
ATTENTION = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "output": "attention.output.dense",
    "norm": "attention.output.LayerNorm",
}
FEED_FORWARD = {
    "up": "intermediate.dense",
    "down": "output.dense",
    "norm": "output.LayerNorm",
}


def bert_shape(config: Config) -> Architecture:
    """Of a configuration with BERT's keys, which other families use too."""
    return uniform(
        config.get("num_hidden_layers", 12),
        config.get("hidden_size", 768),
        config.get("num_attention_heads", 12),
        config.get("intermediate_size", 3072),
        activation=ACTIVATIONS[config.get("hidden_act", "gelu")],
        vocabulary=config.get("vocab_size", 30522),
        positions=config.get("max_position_embeddings", 512),
        token_types=config.get("type_vocab_size", 2),
        norm_eps=config.get("layer_norm_eps", 1e-12),
    )


def bert_modules(architecture: Architecture, first: int = 0) -> dict[str, str]:
    """Names of all modules but the head's; ``first`` is the position of the first attention."""
    layers = (len(architecture.operators) - first) // 2
    return EMBEDDINGS | numbered((ATTENTION, FEED_FORWARD), layers, "encoder.layer.{}", first)


FAMILY = Family(
    name="BERT",
    bare="BertModel",
    heads={
        "BertForSequenceClassification": classifier("pooler.dense", "classifier"),
        "BertForTokenClassification": per_token("token-classification", "classifier"),
        "BertForQuestionAnswering": per_token("question-answering", "qa_outputs"),
        "BertForMaskedLM": masked(
            "cls.predictions.transform.dense",
            "cls.predictions.transform.LayerNorm",
            "cls.predictions.decoder",
        ),
    },
    prefix="bert.",
    headless=("BertForPreTraining",),
    shape=bert_shape,
    modules=bert_modules,
    settings={"add_pooling_layer": False},
)


def config_of(architecture: Architecture, settings: dict[str, Any]) -> Any:
    """The transformers BertConfig of a dense BERT shape, to train from scratch.

    Raises UsageError where layers differ or heads do not fill the hidden size.
    """
    from transformers import BertConfig

    a = architecture
    layer = a.operators[:2]
    if (
        len(layer) < 2
        or not isinstance(layer[0], Attention)
        or not isinstance(layer[1], FeedForward)
        or layer[1].gated
        or a.operators != layer * (len(a.operators) // 2)
        or layer[0].heads * layer[0].head_dim != a.hidden
    ):
        raise UsageError(
            f"{a} is not an ordinary BERT shape; expected equal layers of attention and "
            "feed-forward whose heads fill the hidden size, such as L4-H256-A4-F1024."
        )
    return BertConfig(
        vocab_size=a.vocabulary,
        hidden_size=a.hidden,
        num_hidden_layers=len(a.operators) // 2,
        num_attention_heads=layer[0].heads,
        intermediate_size=layer[1].width,
        hidden_act=layer[1].activation,
        max_position_embeddings=a.positions,
        type_vocab_size=a.token_types,
        layer_norm_eps=a.norm_eps,
        **settings,
    )
