"""ELECTRA: BERT's layers behind embeddings that may be narrower than they are.

Source: Clark et al. 2020 (arXiv 2003.10555); names of weights as transformers has them.
"""

from __future__ import annotations

from dataclasses import replace

from deploy.architecture import Architecture, Projection
from elastic.families.bert import bert_modules, bert_shape
from elastic.families.family import Config, Family, classifier, masked, per_token


def _shape(config: Config) -> Architecture:
    sizes = {"hidden_size": 256, "num_attention_heads": 4, "intermediate_size": 1024}
    shape = bert_shape(sizes | {**config})
    embedding = config.get("embedding_size", 128)
    if embedding == shape.hidden:
        return shape
    return replace(shape, hidden=embedding, operators=(Projection(shape.hidden), *shape.operators))


def _modules(architecture: Architecture) -> dict[str, str]:
    projected = isinstance(architecture.operators[0], Projection)
    modules = bert_modules(architecture, first=int(projected))
    if projected:
        modules["operators.0.linear"] = "embeddings_project"
    return modules


FAMILY = Family(
    name="ELECTRA",
    bare="ElectraModel",
    heads={
        "ElectraForSequenceClassification": classifier(
            "classifier.dense", "classifier.out_proj", "gelu"
        ),
        "ElectraForTokenClassification": per_token("token-classification", "classifier"),
        "ElectraForQuestionAnswering": per_token("question-answering", "qa_outputs"),
        "ElectraForMaskedLM": masked(
            "generator_predictions.dense",
            "generator_predictions.LayerNorm",
            "generator_lm_head",
            "gelu",
        ),
    },
    prefix="electra.",
    headless=("ElectraForPreTraining",),
    shape=_shape,
    modules=_modules,
)
