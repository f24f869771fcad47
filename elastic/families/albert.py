"""ALBERT: layers that share their weights, behind embeddings that are narrower than they are.

Source: Lan et al. 2020 (arXiv 1909.11942); names of weights as transformers has them.
"""

from __future__ import annotations

from dataclasses import replace

from deploy.architecture import Architecture, Projection
from devices.errors import UsageError
from elastic.families.bert import EMBEDDINGS, bert_shape
from elastic.families.family import Config, Family, classifier, masked, per_token

_ATTENTION = {
    "query": "attention.query",
    "key": "attention.key",
    "value": "attention.value",
    "output": "attention.dense",
    "norm": "attention.LayerNorm",
}
_FEED_FORWARD = {"up": "ffn", "down": "ffn_output", "norm": "full_layer_layer_norm"}
_DEFAULTS = {
    "vocab_size": 30000,
    "hidden_size": 4096,
    "num_attention_heads": 64,
    "intermediate_size": 16384,
    "hidden_act": "gelu_new",
}


def _shape(config: Config) -> Architecture:
    shape = bert_shape(_DEFAULTS | {**config})
    if config.get("inner_group_num", 1) != 1:
        raise UsageError(f"inner_group_num is {config['inner_group_num']}; only 1 is supported.")
    layers, groups = len(shape.operators) // 2, config.get("num_hidden_groups", 1)
    operators = (Projection(shape.hidden), *shape.operators)
    shares = [0]
    first: dict[int, int] = {}
    for layer in range(layers):
        place = first.setdefault(int(layer / (layers / groups)), len(shares))
        shares += [place, place + 1]
    embedding = config.get("embedding_size", 128)
    return replace(shape, hidden=embedding, operators=operators, shares=tuple(shares))


def _modules(architecture: Architecture) -> dict[str, str]:
    modules = EMBEDDINGS | {"operators.0.linear": "encoder.embedding_hidden_mapping_in"}
    shares = architecture.shares or tuple(range(len(architecture.operators)))
    groups = list(dict.fromkeys(shares[1::2]))
    for place, first in enumerate(shares[1:], start=1):
        parts, begins = (_ATTENTION, first) if place % 2 else (_FEED_FORWARD, first - 1)
        layer = f"encoder.albert_layer_groups.{groups.index(begins)}.albert_layers.0"
        modules |= {f"operators.{place}.{own}": f"{layer}.{name}" for own, name in parts.items()}
    return modules


FAMILY = Family(
    name="ALBERT",
    bare="AlbertModel",
    heads={
        "AlbertForSequenceClassification": classifier("pooler", "classifier"),
        "AlbertForTokenClassification": per_token("token-classification", "classifier"),
        "AlbertForQuestionAnswering": per_token("question-answering", "qa_outputs"),
        "AlbertForMaskedLM": masked(
            "predictions.dense", "predictions.LayerNorm", "predictions.decoder"
        ),
    },
    prefix="albert.",
    headless=("AlbertForPreTraining",),
    shape=_shape,
    modules=_modules,
    settings={"add_pooling_layer": False},
)
