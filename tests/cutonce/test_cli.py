"""The command line: help, exit codes, one sentence for every bad input."""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import cutonce
from cutonce.cli import main
from cutonce.commands import SUMMARIES

HEAVY = ("torch", "transformers", "onnxruntime", "openvino", "sklearn", "pandas", "onnx")


@pytest.mark.parametrize("words", [["--help"], *([name, "--help"] for name in SUMMARIES)])
def test_help_imports_nothing_heavy(words: list[str]) -> None:
    code = (
        "import sys\nfrom cutonce.cli import main\n"
        f"try:\n    main({words!r})\nexcept SystemExit as stop:\n    assert stop.code == 0\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    assert done.stdout.startswith("usage: cutonce")


def test_unknown_command_suggests_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serach"]) == 2
    assert "Did you mean 'search'?" in capsys.readouterr().err


def test_missing_flag_is_usage() -> None:
    with pytest.raises(SystemExit) as stop:
        main(["measure", "model"])
    assert stop.value.code == 2


def test_unknown_target_suggests_the_nearest(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["measure", str(model), "--target", "local/onnxruntim/fp32"]) == 2
    assert "Did you mean 'onnxruntime'?" in capsys.readouterr().err


def test_missing_model_is_one_sentence(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["measure", str(tmp_path / "nowhere"), "--target", "fake/fake/fp32"]) == 1
    error = capsys.readouterr().err.strip()
    assert "nowhere" in error
    assert "Traceback" not in error


def test_devices_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["devices", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["devices"]
    assert found["local"]["runtimes"]["onnxruntime"]["version"]
    assert found["fake"]["threads"] == 2


def test_interruption_is_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(_args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("cutonce.commands.devices.run", interrupted)
    assert main(["devices"]) == 130
    assert "nothing is left half written" in capsys.readouterr().err


def test_full_disk_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(_args: object) -> None:
        raise OSError(28, "No space left on device", "/some/file")

    monkeypatch.setattr("cutonce.commands.devices.run", full)
    assert main(["devices"]) == 1
    assert "No space left on device (/some/file)" in capsys.readouterr().err


def test_every_command_is_a_function_of_the_package() -> None:
    assert cutonce.__all__ == sorted(SUMMARIES)
    for name in SUMMARIES:
        assert callable(getattr(cutonce, name))
    with pytest.raises(AttributeError, match="serach"):
        _ = cutonce.serach


def test_a_column_that_is_not_there(
    model: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["search", str(model), "--budget", "fake/fake/fp32=0.5x", "--data", str(data)]
    out = tmp_path / "run"
    assert main([*words, "--text", "text", "--label", "lable", "--out", str(out)]) == 2
    assert "Did you mean 'label'?" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_half_written_model_is_refused(
    model: Path, data: Path, tmp_path: Path, missing: str, capsys: pytest.CaptureFixture[str]
) -> None:
    half = tmp_path / "half"
    shutil.copytree(model, half)
    (half / missing).unlink()
    words = ["search", str(half), "--budget", "fake/fake/fp32=0.5x", "--data", str(data)]
    out = tmp_path / "run"
    assert main([*words, "--text", "text", "--label", "label", "--out", str(out)]) == 1
    assert str(half) in capsys.readouterr().err
    assert not out.exists()


def test_out_keeps_the_result_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "new" / "devices.json"
    assert main(["devices", "--out", str(path), "--json"]) == 0
    assert json.loads(path.read_text()) == json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("name", SUMMARIES)
def test_every_command_takes_the_common_flags(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([name, "--help"])
    help_text = capsys.readouterr().out
    for flag in ("--json", "--out", "--seed", "--verbose"):
        assert flag in help_text


def test_what_a_campaign_waits_for_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    monkeypatch.setattr(logging.getLogger(), "level", logging.WARNING)
    assert main(["devices", "--json"]) == 0
    assert logging.getLogger("profiler.crew").isEnabledFor(logging.WARNING)
    assert not logging.getLogger("transformers.x").isEnabledFor(logging.INFO)


def test_a_machine_is_looked_at_and_added(
    sshd: object,  # noqa: ARG001
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    added = ["devices", "add", "pi4", "--ssh", "board", "--python", sys.executable]
    assert main([*added, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["devices"]["ssh:pi4"]
    assert told["runtimes"]["onnxruntime"]["version"]
    missing = told["runtimes"]["tensorrt"]
    assert missing["install"] == f"ssh board {sys.executable} -m pip install tensorrt"
    assert told["install"] is None
    assert abs(told["clock_off"]) < 60
    assert main(["devices", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["known"]["ssh"]["pi4"]["host"] == "board"


def test_a_machine_that_is_not_there_is_not_added(
    sshd: object,  # noqa: ARG001
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert main(["devices", "add", "pi4", "--ssh", "no-such-host.invalid"]) == 1
    assert "Check the name" in capsys.readouterr().err
    assert main(["devices", "add", "pi4"]) == 2
    assert "devices add NAME --ssh" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_device_of_a_fleet_is_added(
    scheduler: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert main(["devices", "add", "two", "--fleet", scheduler]) == 0
    assert "fleet:two/fake/fp32" in capsys.readouterr().out
    assert main(["devices", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["known"]["fleet"]["two"]["scheduler"] == scheduler
    assert main(["devices", "add", "two", "--fleet", scheduler, "--ssh", "board"]) == 2
    assert main(["devices", "--ssh", "board"]) == 2
