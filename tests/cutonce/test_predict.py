"""`cutonce predict` from a profile of the fake device."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import cutonce
from cutonce.cli import main
from devices.errors import NotTrustworthy, StoreError, UsageError
from predictors.predictor import SCHEMA

TARGET = "fake:1/fake/fp32@1"
SHAPES = ["L1-H64-A2-F128", "L1-H64-A2-F100"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, put_profile: Callable[..., Path]) -> Path:
    path = tmp_path_factory.mktemp("predict") / "s.sqlite"
    put_profile(path, TARGET)
    return path


@pytest.fixture
def file(store: Path) -> Path:
    [path] = (store.parent / "profiles").glob("*.json")
    return path


def test_many_configurations_from_a_file(store: Path, tmp_path: Path) -> None:
    listed = tmp_path / "list.txt"
    architecture = {"architecture": json.loads(_architecture_json())}
    listed.write_text("\n".join([*SHAPES, "", json.dumps(architecture)]))
    result = cutonce.predict(TARGET, [f"@{listed}"], length=32, store=store)
    names = [row["configuration"] for row in result["predictions"]]
    assert names == [*SHAPES, f"{listed}:4"]
    wide, narrow, again = (row["ms"] for row in result["predictions"])
    assert narrow < wide == again
    listed.write_text("L1-H64-A2-F128\nL1-H64\n")
    with pytest.raises(UsageError, match="Line 2 of"):
        cutonce.predict(TARGET, [f"@{listed}"], store=store)
    with pytest.raises(UsageError, match="one on each line"):
        cutonce.predict(TARGET, [f"@{tmp_path / 'none.txt'}"], store=store)


def _architecture_json() -> str:
    from deploy.architecture import uniform

    return json.dumps(uniform(1, 64, 2, 128).to_json())


def test_budget_and_lengths_are_answered(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["predict", TARGET, SHAPES[0], "--length", "32", "--store", str(store)]
    more = ["--budget", "1000", "--lengths", "16:1,32:3"]
    assert main([*words, *more, "--json"]) == 0
    [row] = json.loads(capsys.readouterr().out)["predictions"]
    assert row["probability"] > 0.99
    assert row["expected_ms"] < row["p95_ms"] == pytest.approx(row["ms"])
    assert main([*words, *more]) == 0
    assert "within the budget" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="2"):
        main([*words, "--lengths", "32-64"])
    assert "32:0.7,128:0.3" in capsys.readouterr().err


def test_what_is_out_of_domain_is_flagged_widened_and_refused(store: Path, tmp_path: Path) -> None:
    giant = "L12-H768-A12-F3072"
    result = cutonce.predict(TARGET, [giant, SHAPES[0]], length=32, store=store)
    far, near = result["predictions"]
    assert not far["in_domain"]
    assert near["in_domain"]
    assert far["upper"] / far["ms"] > near["upper"] / near["ms"]
    out = tmp_path / "out.json"
    with pytest.raises(NotTrustworthy, match="1 of 2 configurations"):
        cutonce.predict(TARGET, [giant, SHAPES[0]], length=32, store=store, strict=True, out=out)
    assert len(json.loads(out.read_text())["predictions"]) == 2


def test_a_profile_of_another_machine_needs_force(file: Path, tmp_path: Path) -> None:
    data = json.loads(file.read_text())
    data["fingerprint"]["cpu"] = "Another CPU"
    other = tmp_path / "other.json"
    other.write_text(json.dumps(data))
    with pytest.raises(UsageError, match=r"Another CPU.*--force"):
        cutonce.predict(other, SHAPES, length=32)
    result = cutonce.predict(other, SHAPES, length=32, force=True)
    assert "Another CPU" in result["another_machine"]
    assert cutonce.predict(file, SHAPES, length=32)["another_machine"] == ""


def test_damaged_and_old_profiles_are_told(file: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.json"
    for text in ("{", "[]", "{}", json.dumps({**json.loads(file.read_text()), "predictor": {}})):
        bad.write_text(text)
        with pytest.raises(StoreError, match="not a profile"):
            cutonce.predict(bad, SHAPES)
    bad.write_text(json.dumps({**json.loads(file.read_text()), "schema": 1}))
    with pytest.raises(StoreError, match=f"schema 1, this version reads {SCHEMA}"):
        cutonce.predict(bad, SHAPES)


def test_reading_a_profile_and_predicting_imports_neither_torch_nor_scikit_learn(
    file: Path,
) -> None:
    code = f"""
import sys
from pathlib import Path
from cutonce.profiles import load_profile
from deploy.architecture import uniform
from deploy.workload import Workload
kept = load_profile(Path({str(file)!r}))
kept.predictor.predict([uniform(1, 64, 2, 128)], [Workload(1, 64)])
heavy = {{"torch", "sklearn", "scipy", "onnxruntime", "transformers", "pandas"}} & set(sys.modules)
sys.exit(f"imported {{heavy}}" if heavy else 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_machine_without_measurements_is_estimated(
    store: Path, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def one(**how: object) -> dict:
        result = cutonce.predict(TARGET, SHAPES[:1], length=32, store=store, **how)
        return result["predictions"][0] | {"tier": result["tier"]}

    measured, guessed = one(), one(estimate="2,2")
    assert guessed["tier"] == 0
    assert guessed["ms"] == pytest.approx(measured["ms"] / 2)
    assert guessed["upper"] / guessed["ms"] > 1.29
    assert main(["predict", str(file), SHAPES[0], "--length", "32", "--estimate", "2,1"]) == 0
    assert "An estimate" in capsys.readouterr().err
    for wrong, hint in (
        ("fast", "expected `here`"),
        ("here", "was not probed"),
        ("0,1", "positive"),
    ):
        with pytest.raises(UsageError, match=hint):
            one(estimate=wrong)
    local = json.loads(file.read_text()) | {
        "target": "local/onnxruntime/fp32@1",
        "speed": {"macs": 1e-3, "bytes": 1e-3},
    }
    path = tmp_path / "local.json"
    path.write_text(json.dumps(local))
    here = cutonce.predict(path, SHAPES[:1], length=32, estimate="here")
    assert here["predictions"][0]["ms"] < measured["ms"] / 1000
