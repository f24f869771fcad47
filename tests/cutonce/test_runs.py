"""The run directory: resumed by the same request, refused by another."""

from __future__ import annotations

from pathlib import Path

import pytest

from cutonce.runs import Run, read_run
from devices.errors import DataError, UsageError


def test_same_request_resumes_under_the_same_id(tmp_path: Path) -> None:
    first = Run(tmp_path / "run", {"seed": 0})
    again = Run(tmp_path / "run", {"seed": 0})
    assert again.id == first.id
    assert again.result is None


def test_another_request_is_refused_by_name(tmp_path: Path) -> None:
    Run(tmp_path / "run", {"seed": 0, "model": "a"})
    with pytest.raises(UsageError, match="seed"):
        Run(tmp_path / "run", {"seed": 1, "model": "a"})


def test_foreign_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(UsageError, match="no cutonce run"):
        Run(tmp_path, {"seed": 0})
    assert (tmp_path / "thesis.tex").read_text() == "precious"


def test_finish_keeps_the_evidence_and_drops_the_work(tmp_path: Path) -> None:
    run = Run(tmp_path / "run", {"seed": 0})
    (run.work / "networks").mkdir(parents=True)
    run.finish({"budgets": []})
    assert not run.work.exists()
    assert read_run(run.path)["budgets"] == []


def test_unfinished_run_is_said(tmp_path: Path) -> None:
    Run(tmp_path / "run", {"seed": 0})
    with pytest.raises(DataError, match="no finished search"):
        read_run(tmp_path / "run")
