from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from huggingface_hub import ModelCardData

from deploy import run_template
from deploy.artifact import Artifact, write_artifact
from deploy.encoder import Encoder
from deploy.exporters import export_variant
from deploy.tokens import load_tokenizer
from deploy.workload import Workload
from devices.errors import ArtifactChanged, ArtifactError, ModelError, UsageError
from devices.runtimes import RUNTIMES
from devices.target import Target

REPORTS = {
    "parity": {"schema": 1, "passed": True},
    "latency": {"intrinsic": 1.5, "p90": 2.0},
    "metrics": {"accuracy": 0.9, "n": 20},
}
TEXTS = ["a truly great film", "so"]
# Whatever run.py must do without, made impossible to import.
BLOCK = """
import runpy, sys
for name in sys.argv[1].split(","):
    sys.modules[name] = None
sys.argv = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
ROOMS = ["cutonce", "elastic", "predictors", "profiler", "deploy", "devices", "transformers"]

Write = Callable[..., Artifact]


@pytest.fixture
def write(root: Path, encoder: Encoder, tokenizer: Path) -> Write:
    def write(directory: Path, runtime: str = "onnxruntime", **changes: Any) -> Artifact:
        given = {
            "encoder": encoder,
            "target": Target("local", runtime, "fp32", 1),
            "exported": export_variant(encoder, runtime, "fp32", root),
            "tokenizer": tokenizer,
            "workload": Workload(2, 16),
            "reports": REPORTS,
            "source": "models/dense",
            "max_length": 8,
        }
        return write_artifact(directory, **{**given, **changes})

    return write


def test_contents_and_round_trip(tmp_path: Path, write: Write, encoder: Encoder) -> None:
    directory = tmp_path / "run" / "artifact"
    write(directory)
    artifact = Artifact.open(directory)
    artifact.check_hashes()
    assert artifact.target == Target("local", "onnxruntime", "fp32", 1)
    assert artifact.workload == Workload(2, 16)
    assert artifact.architecture == encoder.architecture
    assert artifact.reports == REPORTS
    assert artifact.exported.path == directory / "model.onnx"
    assert set(artifact.exported.files) == {
        artifact.exported.path,
        directory / "model.safetensors",
    }
    ids = torch.arange(12).reshape(2, 6)
    assert torch.equal(artifact.encoder()(ids), encoder(ids))
    files = {file["path"]: file for file in artifact.manifest["files"]}
    assert {
        "config.json",
        "model.safetensors",
        "model.onnx",
        "tokenizer.json",
        "tokenizer_config.json",
        "reports/parity.json",
        "run.py",
        "README.md",
    } <= set(files)
    assert files["model.onnx"]["bytes"] == artifact.exported.path.stat().st_size
    assert sorted(path.name for path in directory.parent.iterdir()) == ["artifact"]


def test_manifest_is_self_describing(tmp_path: Path, write: Write) -> None:
    manifest = json.loads((write(tmp_path / "a").directory / "manifest.json").read_text())
    assert manifest["label_names"] == ["bad", "good"]
    assert manifest["signature"]["inputs"][0] == {
        "name": "input_ids",
        "dtype": "int64",
        "shape": ["batch", "sequence"],
    }
    assert manifest["signature"]["dynamic"]["sequence"] == {"min": 1, "max": 32}
    assert (manifest["signature"]["max_length"], manifest["signature"]["padding"]) == (8, "right")
    assert {"python", "torch", "onnxruntime", "numpy"} <= set(manifest["versions"])
    text = (tmp_path / "a" / "README.md").read_text()
    assert "1.5 ms intrinsic" in text
    assert "accuracy: 0.9" in text
    assert "pip install numpy tokenizers onnxruntime" in text
    card = ModelCardData(**yaml.safe_load(text.split("---")[1]))
    assert card.pipeline_tag == "text-classification"
    assert card.tags == ["onnxruntime", "fp32"]


def test_the_same_artifact_is_the_same_to_the_byte(tmp_path: Path, write: Write) -> None:
    first, same = write(tmp_path / "a").directory, write(tmp_path / "b").directory
    files = [path.relative_to(first) for path in first.rglob("*") if path.is_file()]
    assert all((first / name).read_bytes() == (same / name).read_bytes() for name in files)
    other = write(tmp_path / "c", max_length=9)
    assert other.manifest["id"] != Artifact.open(first).manifest["id"]


def test_the_bill_of_materials_names_what_it_needs(tmp_path: Path, write: Write) -> None:
    artifact = write(tmp_path / "a")
    bill = json.loads((artifact.directory / "sbom.cdx.json").read_text())
    described = bill["metadata"]["component"]
    assert (described["type"], described["name"]) == ("machine-learning-model", "model.onnx")
    [digest] = [f["sha256"] for f in artifact.manifest["files"] if f["path"] == "model.onnx"]
    assert described["hashes"] == [{"alg": "SHA-256", "content": digest}]
    assert {part["name"] for part in bill["components"]} == {"numpy", "tokenizers", "onnxruntime"}
    version = artifact.manifest["versions"]["onnxruntime"]
    assert f"pkg:pypi/onnxruntime@{version}" in {part["purl"] for part in bill["components"]}
    assert {"torch", "cutonce"} <= {
        tool["name"] for tool in bill["metadata"]["tools"]["components"]
    }


def test_an_artifact_is_replaced_but_nothing_else(tmp_path: Path, write: Write) -> None:
    directory = tmp_path / "a"
    directory.mkdir()
    write(directory)  # an empty directory is no loss
    assert write(directory, reports={}).reports == {}
    kept = tmp_path / "thesis"
    kept.mkdir()
    (kept / "chapter.txt").write_text("years of work")
    with pytest.raises(UsageError, match="not an artifact"):
        write(kept)
    with pytest.raises(UsageError, match="not an artifact"):
        write(kept / "chapter.txt")
    assert [path.name for path in kept.iterdir()] == ["chapter.txt"]


def test_a_failed_write_leaves_the_old_one(tmp_path: Path, write: Write, tokenizer: Path) -> None:
    directory = tmp_path / "a"
    before = write(directory).manifest
    slow = tmp_path / "slow"
    slow.mkdir()
    shutil.copy(tokenizer / "tokenizer_config.json", slow)
    with pytest.raises(ModelError, match=r"Tokenizer .*slow cannot be loaded"):
        write(directory, tokenizer=slow)
    assert Artifact.open(directory).manifest == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "slow"]


def test_what_carries_an_artifact_may_keep_its_own_there(tmp_path: Path, write: Write) -> None:
    artifact = write(tmp_path / "a")
    (artifact.directory / ".gitattributes").write_text("*.onnx filter=lfs\n")
    (artifact.directory / ".cache" / "huggingface").mkdir(parents=True)
    (artifact.directory / ".cache" / "huggingface" / "lock").touch()
    artifact.check_hashes()


def test_changed_missing_and_surplus_files_are_named(tmp_path: Path, write: Write) -> None:
    def fresh() -> Artifact:
        return write(tmp_path / "a")

    artifact = fresh()
    weights = artifact.directory / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(ArtifactChanged, match=r"model\.safetensors is not the file"):
        artifact.check_hashes()
    artifact = fresh()
    (artifact.directory / "model.onnx").unlink()
    with pytest.raises(ArtifactChanged, match=r"model\.onnx is missing"):
        artifact.check_hashes()
    artifact = fresh()
    (artifact.directory / "model.onnx.data").write_bytes(b"")
    with pytest.raises(ArtifactChanged, match=r"model\.onnx\.data does not belong"):
        artifact.check_hashes()


def test_damaged_manifests(tmp_path: Path, write: Write) -> None:
    with pytest.raises(ArtifactError, match="is not an artifact"):
        Artifact.open(tmp_path)
    path = write(tmp_path / "a").directory / "manifest.json"
    whole = json.loads(path.read_text())
    outside = [{**whole["files"][0], "path": "../../secret"}]
    for damaged in (
        path.read_text()[:-30],
        "[]",
        json.dumps({**whole, "files": outside}),
        json.dumps({**whole, "model": "../model.onnx"}),
        json.dumps({**whole, "label_names": ["good", "bad"]}),
        json.dumps({**whole, "target": {"device": "local"}}),
        json.dumps({**whole, "workload": {"batch": 0, "length": 1}}),
        *(json.dumps({k: v for k, v in whole.items() if k != key}) for key in ("files", "model")),
    ):
        path.write_text(damaged)
        with pytest.raises(ArtifactChanged, match="is damaged"):
            Artifact.open(path.parent)
    path.write_text(json.dumps({"schema": 99}))
    with pytest.raises(ArtifactError, match="schema 99"):
        Artifact.open(path.parent)


def run_script(artifact: Artifact, *arguments: str, block: str) -> subprocess.CompletedProcess[str]:
    script = str(artifact.directory / "run.py")
    command = [sys.executable, "-I", "-c", BLOCK, block, script, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def expected(encoder: Encoder, tokenizer: Path, *parts: list[str]) -> list[tuple[str, float]]:
    encoded = load_tokenizer(tokenizer)(
        *parts, truncation=True, max_length=8, padding=True, return_token_type_ids=True
    )
    names = ("input_ids", "attention_mask", "token_type_ids")
    with torch.inference_mode():
        shares = encoder(*(torch.tensor(encoded[name]) for name in names)).softmax(-1).numpy()
    return [(("bad", "good")[int(np.argmax(row))], float(row.max())) for row in shares]


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino", "torch"])
def test_run_script_stands_alone(
    runtime: str, tmp_path: Path, write: Write, encoder: Encoder, tokenizer: Path
) -> None:
    if importlib.util.find_spec(runtime) is None:
        pytest.skip(f"{runtime} is not installed")
    artifact = write(tmp_path / "a", runtime)
    block = ",".join(ROOMS if runtime == "torch" else [*ROOMS, "torch"])
    done = run_script(artifact, *TEXTS, "--time", "2", block=block)
    assert done.returncode == 0, done.stderr
    *answers, timing = map(json.loads, done.stdout.splitlines())
    for answer, (label, share) in zip(answers, expected(encoder, tokenizer, TEXTS), strict=True):
        assert answer["label"] == label
        assert answer["probability"] == pytest.approx(share, abs=1e-4)
    assert (timing["runs"], timing["batch"], timing["length"]) == (2, 2, 6)
    assert timing["p50_ms"] > 0
    artifact.check_hashes()  # running leaves nothing behind


def test_run_script_has_a_loader_for_every_runtime() -> None:
    assert {*run_template.RUNTIMES} == {*RUNTIMES}


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_run_script_for_a_gpu_says_that_there_is_none(tmp_path: Path, write: Write) -> None:
    done = run_script(write(tmp_path / "a", "torch-cuda"), "text", block=",".join(ROOMS))
    assert done.returncode == 1
    assert "for an NVIDIA GPU" in done.stderr


def test_run_script_with_pairs_and_cut_texts(
    tmp_path: Path, write: Write, encoder: Encoder, tokenizer: Path
) -> None:
    artifact = write(tmp_path / "a")
    first, second = ["a very great film " * 3, "so"], ["not so very good", "a dull play"]
    done = run_script(artifact, *first, "--pair", *second, block=",".join(ROOMS))
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    wanted = expected(encoder, tokenizer, first, second)
    assert [answer["label"] for answer in answers] == [label for label, _ in wanted]
    assert [answer["probability"] for answer in answers] == pytest.approx(
        [share for _, share in wanted], abs=1e-4
    )
    uneven = run_script(artifact, *first, "--pair", "one", block="torch")
    assert uneven.returncode == 2
    assert "2 texts need as many of --pair, not 1" in uneven.stderr


def test_run_script_without_tokenizer_says_so(tmp_path: Path, write: Write) -> None:
    done = run_script(write(tmp_path / "a", tokenizer=None), "text", block="torch")
    assert done.returncode == 2
    assert "shipped without a tokenizer" in done.stderr


def test_its_tokenizer_loads_from_the_artifact_quietly(
    tmp_path: Path, write: Write, tokenizer: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    loaded = load_tokenizer(write(tmp_path / "a").directory)
    assert loaded(TEXTS)["input_ids"] == load_tokenizer(tokenizer)(TEXTS)["input_ids"]
    assert capfd.readouterr().err == ""
