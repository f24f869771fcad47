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


def _as_they_are(_weights: Weights, _config: Config) -> None:
    """Most families keep their weights as an Encoder does."""


@dataclass(frozen=True)
class Family:
    """One family of checkpoints.

    Attributes:
        name: in messages.
        classifier, bare: classes of transformers, with a classification head and without any.
        prefix: what stands before the bare model's weights in a model with a head.
        headless: further classes, whose head is left away.
        shape: the architecture that a configuration describes, without a head.
        modules: what an Encoder calls its modules, and what the family does, head included.
        activation, dropout: keys of the configuration.
        settings: for the bare class' ``from_pretrained``.
        adjust: changes weights that are kept in another form, under an Encoder's names.
    """

    name: str
    classifier: str
    bare: str
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
        head = (config.get("architectures") or [self.bare])[0]
        self._refuse_unsupported(config, head)
        try:
            shape = self.shape(config)
        except (UsageError, TypeError, ZeroDivisionError) as error:
            raise ModelError(
                f"This {self.name} configuration does not make sense: {error}"
            ) from error
        return replace(shape, labels=len(label_names(config)) if head == self.classifier else 0)

    def head(self, architecture: Architecture) -> tuple[str, ...]:
        """Beginnings of the names that the head's weights have in the classifier."""
        modules = self.modules(architecture)
        return tuple(
            f"{prefix}{modules[own]}."
            for own in ("pooler", "classifier")
            for prefix in ("", self.prefix)
        )

    def load(self, directory: Path) -> Encoder:
        """The encoder in a transformers directory, with its classifier if it has one.

        Raises ModelError where it is not supported, or weights are missing or damaged.
        """
        from deploy.encoder import Encoder
        from elastic.families import read_config

        config = read_config(directory)
        architecture = self.architecture(config)
        names = label_names(config) if architecture.labels else ()
        encoder = Encoder(architecture, names, config.get(self.dropout, 0.1))
        encoder.load_state_dict(self._weights(directory, config, architecture))
        return encoder.eval()

    def _weights(self, directory: Path, config: Config, architecture: Architecture) -> Weights:
        """All weights under the names that an Encoder has."""
        import transformers

        from elastic.families.reading import read_model

        if architecture.labels:
            model = read_model(getattr(transformers, self.classifier), directory)
        else:
            model = read_model(getattr(transformers, self.bare), directory, **self.settings)
        found = {
            name.removeprefix(self.prefix): tensor for name, tensor in model.state_dict().items()
        }
        weights = {
            f"{own}.{kind}": found[f"{theirs}.{kind}"]
            for own, theirs in self.modules(architecture).items()
            for kind in ("weight", "bias")
            if f"{theirs}.{kind}" in found  # embeddings have no bias
        }
        self.adjust(weights, config)
        return weights

    def _refuse_unsupported(self, config: Config, head: str) -> None:
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
        if head not in (self.classifier, self.bare, *self.headless):
            raise ModelError(
                f"The head of {head} is not supported; use a {self.classifier} or a bare {self.bare}."
            )


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
