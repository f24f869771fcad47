"""ModernBERT: LayerNorm before the sub-layers, gated feed-forward, rotary positions, windows.

Source: Warner et al. 2024 (arXiv 2412.13663); names of weights as transformers has them.
"""

from __future__ import annotations

from typing import Any

from deploy.architecture import Architecture, Attention, FeedForward
from devices.errors import UsageError
from elastic.families.family import ACTIVATIONS, Config, Family, Head, Weights, numbered

_EMBEDDINGS = {
    "tokens": "embeddings.tok_embeddings",
    "norm": "embeddings.norm",
    "last_norm": "final_norm",
}
_ATTENTION = {"all": "attn.Wqkv", "output": "attn.Wo", "norm": "attn_norm"}
_FEED_FORWARD = {"both": "mlp.Wi", "down": "mlp.Wo", "norm": "mlp_norm"}
_PARTS = {"all": ("query", "key", "value"), "both": ("up", "gate")}
_TABLES = ("tokens", "token_types")
_THETA = {"full_attention": ("global", 160_000.0), "sliding_attention": ("local", 10_000.0)}


def _shape(config: Config) -> Architecture:
    hidden, heads = config.get("hidden_size", 768), config.get("num_attention_heads", 12)
    if hidden % heads:
        raise UsageError(f"Hidden size {hidden} is not a multiple of {heads} heads.")
    if config.get("classifier_activation", "gelu") != "gelu":
        raise UsageError("The head's activation is not gelu, which alone is supported.")
    feed_forward = FeedForward(
        config.get("intermediate_size", 1152),
        ACTIVATIONS[config.get("hidden_activation", "gelu")],
        gated=True,
    )
    operators: list[Attention | FeedForward] = []
    for number, kind in enumerate(_layer_types(config)):
        window = None if kind == "full_attention" else config.get("local_attention", 128) // 2
        theta, first = _theta(config, kind), number == 0
        operators.append(Attention(heads, hidden // heads, window, theta, normed=not first))
        operators.append(feed_forward)
    return Architecture(
        vocabulary=config.get("vocab_size", 50368),
        hidden=hidden,
        operators=tuple(operators),
        positions=config.get("max_position_embeddings", 8192),
        token_types=1,
        norm_eps=config.get("norm_eps", 1e-5),
        norm="pre",
        absolute=False,
        pooling="mean" if config.get("classifier_pooling", "cls") == "mean" else "first",
        normed_head=True,
    )


def _layer_types(config: Config) -> list[str]:
    layers, every = config.get("num_hidden_layers", 22), config.get("global_attn_every_n_layers", 3)
    usual = ["sliding_attention" if i % every else "full_attention" for i in range(layers)]
    return list(config.get("layer_types") or usual)


def _theta(config: Config, kind: str) -> float:
    name, usual = _THETA[kind]
    rope: dict[str, Any] = (config.get("rope_parameters") or {}).get(kind) or {}
    if rope.get("rope_type", "default") != "default" or config.get("rope_scaling"):
        raise UsageError("Only plain rotary positions are supported.")
    return float(rope.get("rope_theta") or config.get(f"{name}_rope_theta") or usual)


def _modules(architecture: Architecture) -> dict[str, str]:
    layers = len(architecture.operators) // 2
    return _EMBEDDINGS | numbered((_ATTENTION, _FEED_FORWARD), layers, "layers.{}")


def _adjust(weights: Weights, _config: Config) -> None:
    """Take matrices apart that transformers keeps as one, and put zeros where it has no biases."""
    for name in [name for name in weights if name.split(".")[-2] in _PARTS]:
        layer, own, kind = name.rsplit(".", 2)
        parts = weights.pop(name).chunk(len(_PARTS[own]))
        weights |= {f"{layer}.{p}.{kind}": t for p, t in zip(_PARTS[own], parts, strict=True)}
    tokens = weights["tokens.weight"]
    weights["token_types.weight"] = tokens.new_zeros(1, tokens.shape[1])
    for name in [name for name in weights if name.endswith(".weight")]:
        module = name.removesuffix(".weight")
        if module not in _TABLES:
            weights.setdefault(f"{module}.bias", tokens.new_zeros(weights[name].shape[0]))


def _head(output: str, first: str, last: str = "classifier") -> Head:
    modules = {first: "head.dense", "head.norm": "head.norm", f"head.{last}": last}
    return Head(output, modules, "gelu")


FAMILY = Family(
    name="ModernBERT",
    bare="ModernBertModel",
    heads={
        "ModernBertForSequenceClassification": _head("classification", "head.pooler"),
        "ModernBertForTokenClassification": _head("token-classification", "head.transform"),
        "ModernBertForQuestionAnswering": _head("question-answering", "head.transform"),
        "ModernBertForMaskedLM": _head("masked-language-model", "head.transform", "decoder"),
    },
    prefix="model.",
    headless=(),
    shape=_shape,
    modules=_modules,
    activation="hidden_activation",
    dropout="mlp_dropout",
    adjust=_adjust,
)
