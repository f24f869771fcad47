"""RoBERTa: BERT's layers, positions that begin after the padding's.

Source: Liu et al. 2019 (arXiv 1907.11692); names of weights as transformers has them.
"""

from __future__ import annotations

from dataclasses import replace

from deploy.architecture import Architecture
from elastic.families.bert import bert_modules, bert_shape
from elastic.families.family import Config, Family, Weights


def _unused(config: Config) -> int:
    """Rows of the position table before the first token's."""
    return int(config.get("pad_token_id", 1)) + 1


def _shape(config: Config) -> Architecture:
    shape = bert_shape(config)
    return replace(shape, positions=shape.positions - _unused(config))


def _modules(architecture: Architecture) -> dict[str, str]:
    head = {"pooler": "classifier.dense", "classifier": "classifier.out_proj"}
    return bert_modules(architecture) | (head if architecture.labels else {})


def _adjust(weights: Weights, config: Config) -> None:
    weights["positions.weight"] = weights["positions.weight"][_unused(config) :]


FAMILY = Family(
    name="RoBERTa",
    classifier="RobertaForSequenceClassification",
    bare="RobertaModel",
    prefix="roberta.",
    headless=("RobertaForMaskedLM",),
    shape=_shape,
    modules=_modules,
    settings={"add_pooling_layer": False},
    adjust=_adjust,
)
