"""The plain module that an Architecture describes: what is trained, exported and shipped."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from deploy.architecture import Architecture
from deploy.heads import VocabularyHead, make_head
from deploy.layers import make_layer, share
from devices.errors import ModelError, UsageError

CONFIG, WEIGHTS = "config.json", "model.safetensors"
MODEL_TYPE = "cutonce-encoder"
_TIED = {
    "head.decoder.weight": "tokens.weight",
    "head.expand.weight": "expand.weight",
    "head.row_of": "row_of",
}
_HEAD = ("pooler.", "classifier.")  # as the first encoders called what is now below "head."


class Encoder(nn.Module):
    """The encoder that ``architecture`` describes, freshly initialised.

    Attributes:
        architecture: its description.
        label_names: names of the head's outputs, in order; empty where there is no head.
        row_of: [vocabulary], the row of the table of tokens of every id; None where it is the id.
    """

    row_of: Tensor | None

    def __init__(
        self, architecture: Architecture, label_names: tuple[str, ...] = (), dropout: float = 0.1
    ) -> None:
        super().__init__()
        a = architecture
        self.architecture = a
        self.label_names = label_names or tuple(f"LABEL_{i}" for i in range(a.labels))
        self.tokens = nn.Embedding(*a.table)
        self.expand = nn.Linear(a.rank, a.hidden, bias=False) if a.rank else nn.Identity()
        rows = torch.arange(a.vocabulary) % a.rows if a.rows else None
        self.register_buffer("row_of", rows)
        self.positions = nn.Embedding(a.positions, a.hidden) if a.absolute else None
        self.token_types = nn.Embedding(a.token_types, a.hidden)
        self.norm = nn.LayerNorm(a.hidden, eps=a.norm_eps)
        self.dropout = nn.Dropout(dropout)
        layers = map(partial(make_layer, architecture=a), a.operators, a.widths)
        self.operators = nn.ModuleList(layers)
        for place, first in enumerate(a.shares):
            if first != place:
                share(self.operators[place], self.operators[first])
        pre = a.norm == "pre"
        self.last_norm = nn.LayerNorm(a.widths[-1], eps=a.norm_eps) if pre else nn.Identity()
        self.head = make_head(a, dropout)
        if isinstance(self.head, VocabularyHead):
            self.head.tie(self.tokens, self.expand, self.row_of)
        self.apply(_initialise)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
    ) -> Tensor:
        """Logits [batch, labels], or [batch, sequence, labels] of a head on every token; without a
        head the first token's state [batch, hidden].

        All inputs are int64 [batch, sequence]; padding is on the right.
        """
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        states = self.encode(input_ids, attention_mask, token_type_ids)
        outputs: Tensor = self.head(states, attention_mask)
        return outputs

    def encode(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
    ) -> Tensor:
        """The last hidden states [batch, sequence, hidden]."""
        states, mask = self.embed(input_ids, attention_mask, token_type_ids)
        for operator in self.operators:
            states = operator(states, mask)
        last: Tensor = self.last_norm(states)
        return last

    def embed(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """What the first operator is given: states [batch, sequence, hidden] and the additive
        attention mask [batch, 1, 1, sequence]."""
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        if token_type_ids is None:
            token_type_ids = torch.zeros_like(input_ids)
        if self.architecture.token_types == 1:
            # A family without token types; the tokenizers of some tell pairs apart all the same.
            token_type_ids = token_type_ids.clamp(max=0)
        rows = input_ids if self.row_of is None else self.row_of[input_ids]
        embedded = self.expand(self.tokens(rows))
        if self.positions is not None:
            place = torch.arange(input_ids.shape[1], device=input_ids.device)
            embedded = embedded + self.positions(place)
        embedded = embedded + self.token_types(token_type_ids)
        states = self.dropout(self.norm(embedded))
        lowest = torch.finfo(states.dtype).min
        return states, (1 - attention_mask[:, None, None, :].to(states.dtype)) * lowest

    @property
    def digest(self) -> str:
        """16 hex digits that name this architecture with these weights."""
        found = hashlib.sha256(self.architecture.digest.encode())
        for name, tensor in sorted(self.state_dict().items()):
            found.update(name.encode())
            found.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return found.hexdigest()[:16]

    def save_pretrained(self, directory: Path) -> None:
        """Write ``config.json`` and ``model.safetensors``; one's own tokenizer goes beside them."""
        directory.mkdir(parents=True, exist_ok=True)
        config = {
            "model_type": MODEL_TYPE,
            "architecture": self.architecture.to_json(),
            "label_names": list(self.label_names),
        }
        self.save_weights(directory / WEIGHTS)
        (directory / CONFIG).write_text(json.dumps(config, indent=2) + "\n")

    def save_weights(self, path: Path) -> None:
        """Write the ``model.safetensors`` of :meth:`save_pretrained`."""
        weights = {name: tensor.contiguous() for name, tensor in self.state_dict().items()}
        for name in _borrowed(self.architecture, weights):
            del weights[name]
        save_file(weights, path)

    @classmethod
    def from_pretrained(cls, directory: Path) -> Encoder:
        """Load what :meth:`save_pretrained` wrote, in evaluation mode.

        Raises:
            ModelError: a file is missing or damaged, or the weights are another architecture's.
        """
        try:
            config = json.loads((directory / CONFIG).read_text())
            encoder = cls(
                Architecture.from_json(config["architecture"]), tuple(config["label_names"])
            )
            weights = {
                f"head.{name}" if name.startswith(_HEAD) else name: tensor
                for name, tensor in load_file(directory / WEIGHTS).items()
            }
            for name, source in _borrowed(encoder.architecture, encoder.state_dict()).items():
                weights[name] = weights[source]
            encoder.load_state_dict(weights)
        except (OSError, ValueError, KeyError, RuntimeError, UsageError) as error:
            raise ModelError(
                f"{directory} does not hold a whole cutonce encoder ({error}); expected {CONFIG} and "
                f"{WEIGHTS} as `cutonce search` writes them."
            ) from error
        except Exception as error:  # safetensors raises its own type, which is not public
            raise ModelError(
                f"{directory / WEIGHTS} is damaged ({error}); write it again."
            ) from error
        return encoder.eval()


def _borrowed(architecture: Architecture, names: Iterable[str]) -> dict[str, str]:
    """Names of the weights that belong to an earlier module, and what they are called there."""
    found = {name: source for name, source in _TIED.items() if name in names}
    for name in names:
        kind, _, rest = name.partition(".")
        place, _, rest = rest.partition(".")
        if kind == "operators" and architecture.shares:
            first = architecture.shares[int(place)]
            if first != int(place):
                found[name] = f"operators.{first}.{rest}"
    return found


def _initialise(module: nn.Module) -> None:
    if isinstance(module, (nn.Linear, nn.Embedding)):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)
