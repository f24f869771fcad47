"""An artifact in transformers: its exported file as a model of the auto classes.

    import deploy.auto_model  # from then on they know artifacts
    from transformers import pipeline

    classify = pipeline("text-classification", "run/artifacts/local-onnxruntime-int8-t2-4ms")
    classify("some text")

It answers by the runtime, precision and threads that the artifact was proved with, and cannot be trained;
the encoder in torch is ``Artifact.encoder()``. For question answering, of which transformers has no
pipeline any more, ``AutoModelForQuestionAnswering`` loads it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.modeling_outputs import (
    BaseModelOutputWithPooling,
    MaskedLMOutput,
    ModelOutput,
    QuestionAnsweringModelOutput,
    SequenceClassifierOutput,
    TokenClassifierOutput,
)

from deploy.architecture import Architecture
from deploy.artifact import Artifact
from deploy.encoder import MODEL_TYPE
from deploy.hub import FETCHING, fetch
from deploy.inputs import checked
from devices.runtimes import Session

_PROBLEMS = {
    "classification": "single_label_classification",
    "multi-label": "multi_label_classification",
    "regression": "regression",
}


class ArtifactConfig(PreTrainedConfig):
    """The ``config.json`` of an artifact: an Architecture, and the names of its outputs."""

    model_type = MODEL_TYPE

    def __init__(
        self,
        architecture: dict[str, Any] | None = None,
        label_names: Sequence[str] = (),
        **more: Any,
    ) -> None:
        self.architecture, self.label_names = architecture, list(label_names)
        if label_names:
            more |= {"id2label": dict(enumerate(label_names))}
        if architecture is not None:  # None is what transformers asks for to learn the defaults
            output = Architecture.from_json(architecture).output
            more.setdefault("problem_type", _PROBLEMS.get(output))
        super().__init__(**more)


class ArtifactModel(PreTrainedModel):
    """Answers as torch models of transformers do: logits, the start and end of an answer, or an
    embedding as ``pooler_output``."""

    config_class = ArtifactConfig
    main_input_name = "input_ids"

    def __init__(self, config: ArtifactConfig, artifact: Artifact, session: Session) -> None:
        super().__init__(config)
        self.artifact, self._session = artifact, session

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        *_: Any,
        config: ArtifactConfig | None = None,
        **more: Any,
    ) -> ArtifactModel:
        """The artifact in a directory, or in a repository of the hub, for which ``revision``, ``token``,
        ``cache_dir`` and ``local_files_only`` mean what they usually do. What else is asked of weights
        in torch, such as a dtype, is of no concern to it.

        Raises:
            ArtifactError: it is none. ArtifactChanged: a file is not the one that was written.
            DeviceError, MissingDependency: its runtime cannot load it here.
        """
        place = Path(pretrained_model_name_or_path)
        named = str(pretrained_model_name_or_path)
        asked = {name: more[name] for name in FETCHING if more.get(name) is not None}
        artifact = Artifact.open(place) if place.is_dir() else fetch(named, **asked)
        session = artifact.load()
        found = config or ArtifactConfig.from_pretrained(artifact.directory)
        model = cls(found, artifact, session)
        model.name_or_path = named
        return model

    @property
    def device(self) -> torch.device:
        """Where it takes its inputs and leaves its outputs, wherever the runtime computes."""
        return torch.device("cpu")

    @property
    def dtype(self) -> torch.dtype:
        """Of its outputs, whatever the runtime computes in."""
        return torch.float32

    def to(self, *_: Any, **_more: Any) -> ArtifactModel:
        """Itself: the target says where it runs."""
        return self

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        **_: Any,
    ) -> ModelOutput:
        """int64 [batch, sequence] each, padded on the right. Raises UsageError for what it does not take,
        such as more tokens than it has positions."""
        given = {
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            "token_type_ids": token_type_ids,
        }
        arrays = {name: part.cpu().numpy() for name, part in given.items() if part is not None}
        [answer] = self._session.run(checked(self.artifact.architecture, arrays))
        return self._named(torch.from_numpy(answer).to(input_ids.device))

    def _named(self, answer: Tensor) -> ModelOutput:
        match self.artifact.architecture.output:
            case "question-answering":
                return QuestionAnsweringModelOutput(
                    start_logits=answer[..., 0], end_logits=answer[..., 1]
                )
            case "token-classification":
                return TokenClassifierOutput(logits=answer)
            case "masked-language-model":
                return MaskedLMOutput(logits=answer)
            case "embedding":
                return BaseModelOutputWithPooling(pooler_output=answer)
        return SequenceClassifierOutput(logits=answer)


AutoConfig.register(MODEL_TYPE, ArtifactConfig, exist_ok=True)
for _auto in (
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
):
    _auto.register(ArtifactConfig, ArtifactModel, exist_ok=True)
