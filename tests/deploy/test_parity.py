from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from deploy.architecture import Architecture
from deploy.encoder import Encoder
from deploy.exporters import Exported
from deploy.parity import ParityReport, check_parity
from deploy.parity_cases import synthetic_cases
from devices.device import Device
from devices.errors import ParityFailed
from devices.runtimes import Arrays
from devices.target import Target

Logits = np.ndarray[Any, Any]
NAMES = ("input_ids", "attention_mask", "token_type_ids")


class FaultyDevice:
    """Answers as the encoder does, with a fault before (in the inputs) or after (in the logits)."""

    def __init__(
        self,
        encoder: Encoder,
        before: Callable[[dict[str, Logits]], dict[str, Logits]] = lambda inputs: inputs,
        after: Callable[[Logits], Logits] = lambda logits: logits,
        flags: Sequence[str] = (),
    ) -> None:
        self.encoder, self.before, self.after, self.flags = encoder, before, after, flags

    def fingerprint(self) -> Any:
        return SimpleNamespace(flags=self.flags)

    def run(
        self, runtime: str, path: Path, precision: str, threads: int, batches: Sequence[Arrays]
    ) -> list[list[Logits]]:
        del runtime, path, precision, threads
        answers = []
        for batch in batches:
            inputs = self.before(dict(batch))
            with torch.inference_mode():
                logits = self.encoder(*(torch.from_numpy(inputs[name]) for name in NAMES))
            answers.append([self.after(logits.numpy())])
        return answers


@pytest.fixture
def check(encoder: Encoder) -> Callable[..., ParityReport]:
    def check(
        precision: str = "fp32", batches: list[Arrays] | None = None, **faults: Any
    ) -> ParityReport:
        device: Any = FaultyDevice(encoder, **faults)
        seam: Device = device
        exported = Exported(Path("model"), (Path("model"),), Path())
        target = Target("local", "onnxruntime", precision, 1)
        return check_parity(encoder, seam, target, exported, batches=batches)

    return check


def test_a_sound_file_passes_and_the_report_is_json(check: Callable[..., ParityReport]) -> None:
    report = check()
    report.require()
    assert report.passed
    assert all(case.max_error < 1e-6 and case.agreement in (None, 1.0) for case in report.cases)
    data = json.loads(json.dumps(report.to_json()))
    assert data["passed"]
    assert len(data["cases"]) == len(report.cases) == 10


def _ignore(name: str, value: int) -> Callable[[dict[str, Logits]], dict[str, Logits]]:
    return lambda inputs: {**inputs, name: np.full_like(inputs[name], value)}


BEFORE: Mapping[str, Callable[[dict[str, Logits]], dict[str, Logits]]] = {
    "mask ignored": _ignore("attention_mask", 1),
    "token types ignored": _ignore("token_type_ids", 0),
    "last id wraps": lambda inputs: {**inputs, "input_ids": inputs["input_ids"] % 23},
    "long texts cut": lambda inputs: {name: array[:, :16] for name, array in inputs.items()},
}
AFTER: Mapping[str, Callable[[Logits], Logits]] = {
    "no number": lambda logits: np.full_like(logits, np.nan),
    "infinite": lambda logits: np.full_like(logits, np.inf),
    "half precision": lambda logits: logits.astype(np.float16).astype(np.float32),
    "labels swapped": lambda logits: logits[:, ::-1],
    "transposed": lambda logits: logits.T,
    "first row for all": lambda logits: np.broadcast_to(logits[:1], logits.shape),
    "rounded off": lambda logits: logits * 1.001,
}


@pytest.mark.parametrize("fault", BEFORE)
def test_a_fault_in_the_inputs_is_found(fault: str, check: Callable[..., ParityReport]) -> None:
    with pytest.raises(ParityFailed, match="largest error"):
        check(before=BEFORE[fault]).require()


@pytest.mark.parametrize("fault", AFTER)
def test_a_fault_in_the_outputs_is_found(fault: str, check: Callable[..., ParityReport]) -> None:
    report = check(after=AFTER[fault])
    assert not report.passed
    assert json.dumps(report.to_json())


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_lower_precisions_may_err_more_but_not_decide_otherwise(
    precision: str, check: Callable[..., ParityReport]
) -> None:
    assert check(precision, after=lambda logits: logits * 1.01).passed
    assert not check(precision, after=lambda logits: logits[:, ::-1]).passed
    assert not check(precision, after=lambda logits: np.full_like(logits, np.nan)).passed


def test_the_sentence_names_target_case_and_way_out(check: Callable[..., ParityReport]) -> None:
    def padded_rows_differ(logits: Logits) -> Logits:
        return logits + 0.5 * (len(logits) > 3)

    with pytest.raises(ParityFailed) as raised:
        check(after=padded_rows_differ).require()
    sentence = str(raised.value)
    assert sentence.startswith("local/onnxruntime/fp32@1:")
    assert "case 'mixed lengths' (1 of 10 failed): largest error 0.5" in sentence
    assert sentence.endswith("choose another precision or runtime.")


@pytest.mark.parametrize(
    ("precision", "flags", "told"),
    [
        ("int8", ["avx2"], True),
        ("int8-static", ["avx", "avx2"], True),
        ("int8-reduced", ["avx2"], False),
        ("int8", ["avx2", "avx512_vnni"], False),
        ("int8", ["avx2", "avx_vnni"], False),
        ("int8", ["asimd"], False),
        ("fp32", ["avx2"], False),
    ],
)
def test_int8_that_overflows_here_is_told_of(
    check: Callable[..., ParityReport], precision: str, flags: list[str], told: bool
) -> None:
    report = check(precision, after=lambda logits: -logits, flags=flags)
    with pytest.raises(ParityFailed) as raised:
        report.require()
    assert ("choose int8-reduced" in str(raised.value)) == told


def test_int8_is_judged_on_real_texts_where_there_are_any(
    check: Callable[..., ParityReport], small: Architecture
) -> None:
    real = synthetic_cases(small, seed=5)["mixed lengths"]
    wide = real[0]["input_ids"].shape[1]

    def wrong_unless_real(logits: Logits) -> Logits:
        return logits if len(logits) == 16 else -logits

    report = check("int8", batches=real, after=wrong_unless_real)
    assert report.passed
    assert [case.name for case in report.cases if case.judged] == ["real"]
    assert wide <= small.positions

    def wrong_on_all(logits: Logits) -> Logits:
        return -logits

    with pytest.raises(ParityFailed, match="'real'"):
        check("int8", batches=real, after=wrong_on_all).require()


def test_no_more_than_64_real_examples(
    check: Callable[..., ParityReport], small: Architecture
) -> None:
    real = synthetic_cases(small)["mixed lengths"] * 6
    assert {case.name: case.rows for case in check(batches=real).cases}["real"] == 64


def test_cases_cover_sizes_padding_and_vocabulary(small: Architecture) -> None:
    cases = synthetic_cases(small)
    for batch in (batch for case in cases.values() for batch in case):
        mask = batch["attention_mask"]
        assert (np.diff(mask, axis=1) <= 0).all()
        assert mask[:, 0].all()
        assert batch["input_ids"].max() < small.vocabulary
    assert set(np.unique(cases["vocabulary edges"][0]["input_ids"])) == {0, 23}
    assert len(set(cases["mixed lengths"][0]["attention_mask"].sum(1))) > 4
    long = synthetic_cases(replace(small, positions=512))
    assert max(batch["input_ids"].shape[1] for case in long.values() for batch in case) == 128
