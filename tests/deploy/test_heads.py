"""Every head: exported it answers as the encoder does, and run.py says what it is for."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deploy.architecture import OUTPUTS, Architecture, Attention
from deploy.artifact import write_artifact
from deploy.costs import costs, macs, parameters
from deploy.encoder import Encoder
from deploy.exporters import export_variant
from deploy.parity import check_parity
from deploy.workload import Workload
from devices.device import open_device
from devices.errors import UsageError
from devices.target import Target

LABELS = {
    "embedding": (), "masked-language-model": (), "regression": ("value",),
    "question-answering": ("start", "end"), "token-classification": ("O", "B-X", "I-X"),
    "classification": ("bad", "good"), "multi-label": ("art", "new", "old"),
}  # fmt: skip
NAMES = ("input_ids", "attention_mask", "token_type_ids")


def make(output: str) -> Encoder:
    names = LABELS[output]
    chain = (Attention(2, 8),)  # so that every text has outputs of its own
    torch.manual_seed(0)
    encoder = Encoder(
        Architecture(30, 16, chain, positions=16, labels=len(names), head=output), names
    )
    with torch.no_grad():
        for name, parameter in encoder.named_parameters():
            parameter.normal_(float(name.endswith("norm.weight")), 0.3)
    return encoder.eval()


@pytest.fixture(scope="session")
def masking(tokenizer: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small tokenizer with a mask."""
    from transformers import AutoTokenizer

    loaded = AutoTokenizer.from_pretrained(tokenizer)
    loaded.add_special_tokens({"mask_token": "[MASK]"})
    directory = tmp_path_factory.mktemp("masking")
    loaded.save_pretrained(directory)
    return directory


def encoded(masking: Path, *texts: str) -> dict[str, np.ndarray]:
    from transformers import AutoTokenizer

    loaded = AutoTokenizer.from_pretrained(masking)
    return dict(loaded(*texts, return_token_type_ids=True, return_tensors="np"))


def outputs_of(encoder: Encoder, inputs: dict[str, np.ndarray]) -> np.ndarray[Any, Any]:
    with torch.inference_mode():
        found: np.ndarray[Any, Any] = encoder(
            *(torch.from_numpy(inputs[name]) for name in NAMES)
        ).numpy()[0]
    return found


@pytest.mark.parametrize("output", OUTPUTS)
def test_exported_it_answers_alike_and_says_what_it_is_for(
    output: str, masking: Path, tmp_path: Path
) -> None:
    encoder, target = make(output), Target("local", "onnxruntime", "fp32", 1)
    exported = export_variant(encoder, "onnxruntime", "fp32", tmp_path / "files")
    report = check_parity(encoder, open_device("local"), target, exported)
    report.require()
    artifact = write_artifact(
        tmp_path / "artifact",
        encoder=encoder,
        target=target,
        exported=exported,
        tokenizer=masking,
        workload=Workload(1, 8),
        reports={},
        source="it",
        max_length=16,
    )
    texts = {
        "question-answering": ["is film good", "--pair", "the film is very good"],
        "masked-language-model": ["the [MASK] is [MASK]"],
    }.get(output, ["the film is good"])
    command = [sys.executable, str(artifact.directory / "run.py"), *texts]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    [answer] = map(json.loads, done.stdout.splitlines())
    given = [text for text in texts if text != "--pair"]
    inputs = encoded(masking, *given)
    found = outputs_of(encoder, inputs)
    assert answer.pop("text") == given[0]
    check = globals()[f"check_{output.replace('-', '_')}"]
    check(answer, found, inputs)


def check_embedding(answer: Any, found: Any, _inputs: Any) -> None:
    assert answer["embedding"] == pytest.approx(found.tolist(), abs=1e-4)


def check_classification(answer: Any, found: Any, _inputs: Any) -> None:
    assert answer["label"] == LABELS["classification"][int(found.argmax())]


def check_multi_label(answer: Any, found: Any, _inputs: Any) -> None:
    named = zip(LABELS["multi-label"], found, strict=True)
    assert [*answer["labels"]] == [name for name, logit in named if logit > 0]


def check_regression(answer: Any, found: Any, _inputs: Any) -> None:
    assert answer["value"] == pytest.approx(float(found[0]), abs=1e-4)


def check_token_classification(answer: Any, found: Any, _inputs: Any) -> None:
    tags = [LABELS["token-classification"][int(row.argmax())] for row in found[1:-1]]
    words = ["the", "film", "is", "good"]
    assert answer["words"] == [
        {"word": word, "tag": tag} for word, tag in zip(words, tags, strict=True)
    ]


def check_question_answering(answer: Any, found: Any, inputs: Any) -> None:
    [places] = np.nonzero(inputs["token_type_ids"][0])
    places = places[:-1]  # the last is [SEP]
    sums = found[places, 0][:, None] + found[places, 1][None]
    first, last = np.unravel_index(
        np.where(np.tri(len(places)).T > 0, sums, -np.inf).argmax(), sums.shape
    )
    assert answer["answer"] == " ".join(["the", "film", "is", "very", "good"][first : last + 1])
    assert 0 < answer["probability"] < 1


def check_masked_language_model(answer: Any, found: Any, inputs: Any) -> None:
    [hidden] = np.nonzero(
        inputs["input_ids"][0] == inputs["input_ids"].max()
    )  # [MASK] was added last
    assert len(hidden) == 2
    best = found[hidden].argmax(-1)
    known = [token for token, number in zip(answer["tokens"], best, strict=True) if number < 24]
    assert len(answer["tokens"]) == 2
    assert all(known)


@pytest.mark.parametrize("runtime", ["openvino", "torch"])
def test_other_runtimes_give_every_token_its_outputs(runtime: str, tmp_path: Path) -> None:
    encoder = make(
        "masked-language-model"
    )  # whose head has what the others per token have, and more
    exported = export_variant(encoder, runtime, "fp32", tmp_path)
    target = Target("local", runtime, "fp32", 1)
    check_parity(encoder, open_device("local"), target, exported).require()


@pytest.mark.parametrize("output", OUTPUTS)
def test_what_a_head_costs(output: str) -> None:
    encoder = make(output)
    a, workload = encoder.architecture, Workload(2, 8)
    assert parameters(a) == sum(parameter.numel() for parameter in encoder.parameters())
    linears = [module for module in encoder.head.modules() if isinstance(module, torch.nn.Linear)]
    rows = workload.tokens if a.per_token else workload.batch
    head = costs(a, workload)[-1]
    assert head.macs == rows * sum(linear.weight.numel() for linear in linears)
    assert macs(a, workload) > head.macs


def test_an_encoder_of_the_first_version_is_still_read(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    encoder = make("classification")
    encoder.save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    weights = {name.removeprefix("head."): tensor for name, tensor in load_file(path).items()}
    assert {"pooler.weight", "classifier.bias"} <= {*weights}
    save_file(weights, path)
    again = Encoder.from_pretrained(tmp_path)
    assert all(
        torch.equal(a, b) for a, b in zip(again.parameters(), encoder.parameters(), strict=True)
    )


def test_a_head_that_makes_no_sense_is_refused() -> None:
    for output, labels in (("embedding", 2), ("classification", 0), ("sorting", 2)):
        with pytest.raises(UsageError, match=f"head for {output} with {labels} labels"):
            Architecture(30, 16, (), labels=labels, head=output)
