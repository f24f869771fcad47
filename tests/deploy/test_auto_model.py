"""Artifacts in transformers' pipelines, and on a hub."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline
from transformers.modeling_outputs import (
    BaseModelOutputWithPooling,
    MaskedLMOutput,
    QuestionAnsweringModelOutput,
    TokenClassifierOutput,
)

from deploy.architecture import Architecture
from deploy.artifact import Artifact, write_artifact
from deploy.auto_model import ArtifactModel
from deploy.encoder import Encoder
from deploy.exporters import export_variant
from deploy.hub import fetch, push_to_hub
from deploy.workload import Workload
from devices.errors import ArtifactChanged, ArtifactError, CutonceError, UsageError
from devices.target import Target

Make = Callable[..., Artifact]


@pytest.fixture
def make(tokenizer: Path, tmp_path: Path) -> Make:
    def make(encoder: Encoder, root: Path | None = None) -> Artifact:
        return write_artifact(
            tmp_path / "artifact",
            encoder=encoder,
            target=Target("local", "onnxruntime", "fp32", 1),
            exported=export_variant(encoder, "onnxruntime", "fp32", root or tmp_path / "root"),
            tokenizer=tokenizer,
            workload=Workload(1, 16),
            reports={},
            source="models/dense",
            max_length=8,
        )

    return make


def test_a_pipeline_answers_by_the_exported_file(make: Make, encoder: Encoder, root: Path) -> None:
    artifact = make(encoder, root)
    classify = pipeline("text-classification", str(artifact.directory), top_k=None)
    texts = ["a truly great film", "so"]
    found = classify(texts, batch_size=2)
    tokens = AutoTokenizer.from_pretrained(artifact.directory)(
        texts, padding=True, return_tensors="pt"
    )
    with torch.inference_mode():
        shares = encoder(tokens["input_ids"], tokens["attention_mask"]).softmax(-1)
    for row, answers in zip(shares.tolist(), found, strict=True):
        scores = {answer["label"]: answer["score"] for answer in answers}
        assert scores == pytest.approx(dict(zip(encoder.label_names, row, strict=True)), abs=1e-4)
    assert isinstance(classify.model, ArtifactModel)
    assert "ArtifactModel" in repr(classify)
    assert classify.model.config.problem_type == "single_label_classification"


def test_the_auto_class_loads_it(make: Make, encoder: Encoder, root: Path) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(make(encoder, root).directory)
    ids = torch.tensor([[2, 5, 3]])
    assert torch.allclose(model(ids).logits, encoder(ids), atol=1e-4)
    assert model.to("meta") is model
    assert model.device.type == "cpu"


@pytest.mark.parametrize(
    ("output", "labels", "kind", "name", "shape"),
    [
        ("token-classification", 3, TokenClassifierOutput, "logits", (1, 4, 3)),
        ("question-answering", 2, QuestionAnsweringModelOutput, "end_logits", (1, 4)),
        ("masked-language-model", 0, MaskedLMOutput, "logits", (1, 4, 24)),
        ("embedding", 0, BaseModelOutputWithPooling, "pooler_output", (1, 32)),
    ],
)
def test_every_output_is_called_as_in_transformers(
    make: Make,
    small: Architecture,
    output: str,
    labels: int,
    kind: type,
    name: str,
    shape: tuple[int, ...],
) -> None:
    encoder = Encoder(replace(small, operators=(), head=output, labels=labels)).eval()
    model = ArtifactModel.from_pretrained(make(encoder).directory)
    found = model(torch.tensor([[2, 5, 6, 3]]))
    assert isinstance(found, kind)
    assert tuple(found[name].shape) == shape


def test_more_tokens_than_positions_are_refused(make: Make, encoder: Encoder, root: Path) -> None:
    classify = pipeline("text-classification", str(make(encoder, root).directory))
    with pytest.raises(UsageError, match=r"1 to 32 tokens: cut longer texts \(truncation=True"):
        classify("film " * 40)
    assert classify("film " * 40, truncation=True, max_length=32)


def test_a_changed_file_is_not_loaded(make: Make, encoder: Encoder, root: Path) -> None:
    artifact = make(encoder, root)
    artifact.exported.path.write_bytes(b"another")
    with pytest.raises(ArtifactChanged):
        ArtifactModel.from_pretrained(artifact.directory)


class Hub:
    """Keeps what is pushed, as the hub does."""

    def __init__(self, place: Path) -> None:
        self.place, self.made = place, {}

    def __call__(self, **_: Any) -> Hub:
        return self

    def create_repo(self, name: str, *, private: bool | None, exist_ok: bool) -> Any:
        assert exist_ok
        full = name if "/" in name else f"me/{name}"
        self.made[full] = private
        return SimpleNamespace(repo_id=full)

    def upload_folder(
        self, *, repo_id: str, folder_path: Path, allow_patterns: list[str], **_: Any
    ) -> Any:
        for name in allow_patterns:
            place = self.place / repo_id / name
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder_path / name, place)
        (self.place / repo_id / ".gitattributes").write_text("*.onnx filter=lfs\n")
        return SimpleNamespace(commit_url=f"https://hub/{repo_id}/commit/1")

    def download(self, name: str, *, revision: str = "main", **_: Any) -> str:
        if not (self.place / name).exists():
            raise OSError(f"no {name} of {revision}\nand more")
        fetched = self.place / "fetched"
        shutil.copytree(self.place / name, fetched)
        return str(fetched)


def test_to_the_hub_and_back(
    make: Make, encoder: Encoder, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = Hub(tmp_path / "hub")
    monkeypatch.setattr("huggingface_hub.HfApi", hub)
    monkeypatch.setattr("huggingface_hub.snapshot_download", hub.download)
    artifact = make(encoder, root)
    (artifact.directory / ".env").write_text("SECRET=1")
    assert push_to_hub(artifact, "small", private=True) == "https://hub/me/small/commit/1"
    assert hub.made == {"me/small": True}
    assert not (tmp_path / "hub" / "me" / "small" / ".env").exists()
    assert fetch("me/small").manifest == artifact.manifest
    shutil.rmtree(tmp_path / "hub" / "fetched")
    assert ArtifactModel.from_pretrained("me/small").artifact.manifest == artifact.manifest
    with pytest.raises(CutonceError, match=r"me/other cannot be fetched \(no me/other of v1\)"):
        fetch("me/other", revision="v1")
    (tmp_path / "hub" / "me" / "bare").mkdir()
    shutil.rmtree(tmp_path / "hub" / "fetched")
    with pytest.raises(ArtifactError, match="is not an artifact"):
        fetch("me/bare")


def test_a_hub_that_refuses(
    make: Make, encoder: Encoder, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Refusing(Hub):
        def create_repo(self, name: str, **_: Any) -> None:
            raise ValueError(f"no right to {name}")

    monkeypatch.setattr("huggingface_hub.HfApi", Refusing(Path()))
    with pytest.raises(
        CutonceError, match=r"could not be pushed to me/small \(no right to me/small\)"
    ):
        push_to_hub(make(encoder, root), "me/small")
