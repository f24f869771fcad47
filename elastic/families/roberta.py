"""RoBERTa: BERT's layers, positions that begin after the padding's.

Source: Liu et al. 2019 (arXiv 1907.11692); names of weights as transformers has them.
"""

from __future__ import annotations

from dataclasses import replace

from deploy.architecture import Architecture
from elastic.families.bert import bert_modules, bert_shape
from elastic.families.family import Config, Family, Weights, classifier, masked, per_token


def _unused(config: Config) -> int:
    """Rows of the position table before the first token's."""
    return int(config.get("pad_token_id", 1)) + 1


def _shape(config: Config) -> Architecture:
    shape = bert_shape(config)
    return replace(shape, positions=shape.positions - _unused(config))


def _adjust(weights: Weights, config: Config) -> None:
    weights["positions.weight"] = weights["positions.weight"][_unused(config) :]


FAMILY = Family(
    name="RoBERTa",
    bare="RobertaModel",
    heads={
        "RobertaForSequenceClassification": classifier("classifier.dense", "classifier.out_proj"),
        "RobertaForTokenClassification": per_token("token-classification", "classifier"),
        "RobertaForQuestionAnswering": per_token("question-answering", "qa_outputs"),
        "RobertaForMaskedLM": masked(
            "lm_head.dense", "lm_head.layer_norm", "lm_head.decoder", "gelu"
        ),
    },
    prefix="roberta.",
    headless=(),
    shape=_shape,
    modules=bert_modules,
    settings={"add_pooling_layer": False},
    adjust=_adjust,
)
