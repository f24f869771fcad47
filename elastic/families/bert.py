"""BERT checkpoints of transformers to an Encoder and back to a configuration.

Source: Devlin et al. 2019 (arXiv 1810.04805); names of weights as transformers has them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploy.architecture import Architecture, Attention, FeedForward
from devices.errors import ModelError, UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from deploy.encoder import Encoder

CLASSIFIER = "BertForSequenceClassification"
_HEADLESS = ("BertModel", "BertForMaskedLM", "BertForPreTraining")
_ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_new": "gelu_new",
    "gelu_pytorch_tanh": "gelu_new",
    "relu": "relu",
}
_EMBEDDINGS = {
    "tokens": "word_embeddings",
    "positions": "position_embeddings",
    "token_types": "token_type_embeddings",
    "norm": "LayerNorm",
}
_ATTENTION = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "output": "attention.output.dense",
    "norm": "attention.output.LayerNorm",
}
_FEED_FORWARD = {
    "up": "intermediate.dense",
    "down": "output.dense",
    "norm": "output.LayerNorm",
}


def architecture_of_config(config: Mapping[str, Any]) -> Architecture:
    """The architecture that a config.json of ``model_type`` bert describes; no torch.

    Raises ModelError where it is not supported: a decoder, relative positions, another head or
    activation.
    """
    head = (config.get("architectures") or ["BertModel"])[0]
    _refuse_unsupported(config, head)
    hidden, heads = config.get("hidden_size", 768), config.get("num_attention_heads", 12)
    try:
        if hidden % heads:
            raise UsageError(f"hidden_size {hidden} is not a multiple of {heads} heads")
        layer = (
            Attention(heads, hidden // heads),
            FeedForward(
                config.get("intermediate_size", 3072),
                _ACTIVATIONS[config.get("hidden_act", "gelu")],
            ),
        )
        return Architecture(
            vocabulary=config.get("vocab_size", 30522),
            hidden=hidden,
            operators=layer * config.get("num_hidden_layers", 12),
            positions=config.get("max_position_embeddings", 512),
            token_types=config.get("type_vocab_size", 2),
            labels=len(label_names(config)) if head == CLASSIFIER else 0,
            norm_eps=config.get("layer_norm_eps", 1e-12),
        )
    except (UsageError, TypeError, ZeroDivisionError) as error:
        raise ModelError(f"This BERT configuration does not make sense: {error}") from error


def label_names(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the classifier's outputs in order; raises ModelError where they have gaps."""
    named = config.get("id2label")
    if not named:
        return tuple(f"LABEL_{i}" for i in range(config.get("num_labels", 2)))
    names = {int(index): str(name) for index, name in named.items()}
    if sorted(names) != list(range(len(names))):
        raise ModelError(
            f"id2label numbers {sorted(names)} have gaps; expected 0 to {len(names) - 1}."
        )
    return tuple(names[index] for index in range(len(names)))


def config_of(architecture: Architecture, names: tuple[str, ...]) -> Any:
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
        id2label=dict(enumerate(names)),
        label2id={name: index for index, name in enumerate(names)},
    )


def load_bert(directory: Path) -> Encoder:
    """The encoder in a transformers directory, with its classifier if it has one.

    Raises ModelError where it is not supported, or weights are missing or damaged.
    """
    from deploy.encoder import Encoder
    from elastic.families import read_config

    config = read_config(directory)
    architecture = architecture_of_config(config)
    names = label_names(config) if architecture.labels else ()
    encoder = Encoder(architecture, names, config.get("hidden_dropout_prob", 0.1))
    encoder.load_state_dict(translate(read_weights(directory, architecture), architecture))
    return encoder.eval()


def read_weights(directory: Path, architecture: Architecture) -> dict[str, Tensor]:
    """All weights, under the names of the bare BertModel, the classifier's beside them."""
    from transformers import BertForSequenceClassification, BertModel

    from elastic.families.reading import read_model

    if architecture.labels:
        model = read_model(BertForSequenceClassification, directory)
    else:
        model = read_model(BertModel, directory, add_pooling_layer=False)
    return {name.removeprefix("bert."): tensor for name, tensor in model.state_dict().items()}


def translate(weights: Mapping[str, Tensor], architecture: Architecture) -> dict[str, Tensor]:
    """Weights of a transformers BERT under the names that an Encoder has."""
    modules = {own: f"embeddings.{theirs}" for own, theirs in _EMBEDDINGS.items()}
    for position in range(len(architecture.operators)):
        parts = _FEED_FORWARD if position % 2 else _ATTENTION
        for own, theirs in parts.items():
            modules[f"operators.{position}.{own}"] = f"encoder.layer.{position // 2}.{theirs}"
    if architecture.labels:
        modules |= {"pooler": "pooler.dense", "classifier": "classifier"}
    return {
        f"{own}.{kind}": weights[f"{theirs}.{kind}"]
        for own, theirs in modules.items()
        for kind in ("weight", "bias")
        if f"{theirs}.{kind}" in weights  # embeddings have no bias
    }


def _refuse_unsupported(config: Mapping[str, Any], head: str) -> None:
    positions = config.get("position_embedding_type", "absolute")
    activation = config.get("hidden_act", "gelu")
    if config.get("is_decoder") or config.get("add_cross_attention"):
        raise ModelError("This BERT is a decoder; only encoders are supported.")
    if positions != "absolute":
        raise ModelError(
            f"Position embeddings {positions!r} are not supported; only 'absolute' are."
        )
    if activation not in _ACTIVATIONS:
        raise ModelError(
            f"Activation {activation!r} is not supported; use one of {', '.join(_ACTIVATIONS)}."
        )
    if head not in (CLASSIFIER, *_HEADLESS):
        raise ModelError(
            f"The head of {head} is not supported; use a {CLASSIFIER} or a bare BertModel."
        )
