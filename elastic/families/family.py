"""What the families have in common: from a checkpoint of transformers to an Encoder.

A family is a few tables: which classes of transformers its checkpoints are of, how its configuration
describes an architecture, and what it calls the weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploy.architecture import Architecture
from deploy.costs import parameters
from devices.errors import ModelError, UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from deploy.encoder import Encoder

Config = Mapping[str, Any]
Weights = dict[str, "Tensor"]

ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_new": "gelu_new",
    "gelu_pytorch_tanh": "gelu_new",
    "relu": "relu",
}
"""Activations of transformers that an Encoder has, and what it calls them."""

_ON_FIRST = ("classification", "multi-label", "regression")
PROBLEMS = {"multi_label_classification": "multi-label", "regression": "regression"}
"""Problem types of transformers' classifiers, and what an Architecture calls their outputs."""


@dataclass(frozen=True)
class Head:
    """One class of transformers with a head.

    Attributes:
        output: what its outputs mean, as an Architecture calls it.
        modules: what an Encoder calls the head's modules, and what the family does.
        activation: inside the head; None stands for the layers' own.
    """

    output: str
    modules: Mapping[str, str]
    activation: str | None = "tanh"


def classifier(pooler: str, linear: str, activation: str = "tanh") -> Head:
    """Two linear layers on the first token."""
    return Head("classification", {"head.pooler": pooler, "head.classifier": linear}, activation)


def per_token(output: str, linear: str) -> Head:
    """One linear layer on every token."""
    return Head(output, {"head.classifier": linear})


def masked(transform: str, norm: str, decoder: str, activation: str | None = None) -> Head:
    """A masked language model."""
    modules = {"head.transform": transform, "head.norm": norm, "head.decoder": decoder}
    return Head("masked-language-model", modules, activation)


def _as_they_are(_weights: Weights, _config: Config) -> None:
    """Most families keep their weights as an Encoder does."""


@dataclass(frozen=True)
class Family:
    """One family of checkpoints.

    Attributes:
        name: in messages.
        bare: the class of transformers without a head. heads: those with one.
        prefix: what stands before the bare model's weights in a model with a head.
        headless: further classes, whose head is left away.
        shape: the architecture that a configuration describes, without a head.
        modules: what an Encoder calls its modules, and what the family does, without the head's.
        activation, dropout: keys of the configuration.
        settings: for the bare class' ``from_pretrained``.
        adjust: changes weights that are kept in another form, under an Encoder's names.
    """

    name: str
    bare: str
    heads: Mapping[str, Head]
    prefix: str
    headless: tuple[str, ...]
    shape: Callable[[Config], Architecture]
    modules: Callable[[Architecture], dict[str, str]]
    activation: str = "hidden_act"
    dropout: str = "hidden_dropout_prob"
    settings: Mapping[str, Any] = field(default_factory=dict)
    adjust: Callable[[Weights, Config], None] = _as_they_are

    def architecture(self, config: Config) -> Architecture:
        """The architecture that a config.json describes; no torch.

        Raises ModelError where it is not supported: a decoder, relative positions, another head or
        activation.
        """
        return self._with_head(self.shape_of(config), config)

    def shape_of(self, config: Config) -> Architecture:
        """The same without its head."""
        self._refuse_unsupported(config)
        try:
            return self.shape(config)
        except (UsageError, TypeError, ZeroDivisionError) as error:
            raise ModelError(
                f"This {self.name} configuration does not make sense: {error}"
            ) from error

    def class_for(self, output: str) -> str:
        """The class of transformers whose outputs mean that."""
        like = "classification" if output in _ON_FIRST else output
        return next(name for name, head in self.heads.items() if head.output == like)

    def fresh(self, kind: str) -> tuple[str, ...]:
        """Beginnings of the names that the weights of a class' head have."""
        tops = {name.partition(".")[0] for name in self.heads[kind].modules.values()}
        return tuple(f"{prefix}{top}" for top in sorted(tops) for prefix in ("", self.prefix))

    def _with_head(self, shape: Architecture, config: Config) -> Architecture:
        head = self.heads.get(_class(config, self.bare))
        if head is None:
            return replace(shape, pooling="first")
        activation = head.activation or ACTIVATIONS[config.get(self.activation, "gelu")]
        output, labels = head.output, len(label_names(config))
        if output == "masked-language-model":
            labels = 0
        elif output == "classification":
            output = "" if labels > 1 else "regression"
            output = PROBLEMS.get(config.get("problem_type") or "", output)
        return replace(shape, labels=labels, head=output, pooler=activation)

    def load(self, directory: Path) -> Encoder:
        """The encoder in a transformers directory, with its classifier if it has one.

        Raises ModelError where it is not supported, or weights are missing or damaged.
        """
        from deploy.encoder import Encoder
        from elastic.families import read_config
        from elastic.families.reading import check_memory

        config = read_config(directory)
        architecture = self.architecture(config)
        check_memory(parameters(architecture), str(directory))
        names = label_names(config) if architecture.labels else ()
        encoder = Encoder(architecture, names, config.get(self.dropout, 0.1))
        encoder.load_state_dict(self._weights(directory, config, architecture))
        return encoder.eval()

    def _weights(self, directory: Path, config: Config, architecture: Architecture) -> Weights:
        """All weights under the names that an Encoder has."""
        import transformers

        from elastic.families.reading import read_model

        head = self.heads.get(_class(config, self.bare))
        if head is None:
            model = read_model(getattr(transformers, self.bare), directory, **self.settings)
        else:
            model = read_model(getattr(transformers, _class(config, self.bare)), directory)
        found = {
            name.removeprefix(self.prefix): tensor for name, tensor in model.state_dict().items()
        }
        modules = self.modules(architecture) | {**(head.modules if head else {})}
        weights = {
            f"{own}.{kind}": found[f"{theirs}.{kind}"]
            for own, theirs in modules.items()
            for kind in ("weight", "bias")
            if f"{theirs}.{kind}" in found  # embeddings have no bias
        }
        self._check_tied(weights)
        self.adjust(weights, config)
        return weights

    def _check_tied(self, weights: Weights) -> None:
        decoder = weights.get("head.decoder.weight")
        if decoder is not None and not decoder.equal(weights["tokens.weight"]):
            raise ModelError(
                f"The last layer of this {self.name} is not its embedding table; only language models "
                "with tie_word_embeddings are supported."
            )

    def _refuse_unsupported(self, config: Config) -> None:
        head = _class(config, self.bare)
        positions = config.get("position_embedding_type", "absolute")
        activation = config.get(self.activation, "gelu")
        if config.get("is_decoder") or config.get("add_cross_attention"):
            raise ModelError(f"This {self.name} is a decoder; only encoders are supported.")
        if positions != "absolute":
            raise ModelError(
                f"Position embeddings {positions!r} are not supported; only 'absolute' are."
            )
        if activation not in ACTIVATIONS:
            raise ModelError(
                f"Activation {activation!r} is not supported; use one of {', '.join(ACTIVATIONS)}."
            )
        if head not in (self.bare, *self.heads, *self.headless):
            raise ModelError(
                f"The head of {head} is not supported; use one of {', '.join(self.heads)} or a bare "
                f"{self.bare}."
            )


def _class(config: Config, bare: str) -> str:
    """The class of transformers that a checkpoint is of."""
    return str((config.get("architectures") or [bare])[0])


def label_names(config: Config) -> tuple[str, ...]:
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


def numbered(
    parts: tuple[Mapping[str, str], Mapping[str, str]], layers: int, place: str, first: int = 0
) -> dict[str, str]:
    """Module names of alternating attention and feed-forward.

    Args:
        parts: of an attention and of a feed-forward, what an Encoder calls them and what the family
            does.
        place: the family's name of a layer, with ``{}`` for its number.
        first: position of the first attention in the chain.
    """
    return {
        f"operators.{first + 2 * layer + half}.{own}": f"{place.format(layer)}.{theirs}"
        for layer in range(layers)
        for half in (0, 1)
        for own, theirs in parts[half].items()
    }
