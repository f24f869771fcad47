"""The parity gate: does an exported file, loaded in a fresh process, answer as the encoder?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from deploy.exporters import Exported
from deploy.parity_cases import synthetic_cases
from devices.device import Device
from devices.errors import ParityFailed
from devices.precision import PRECISIONS
from devices.runtimes import INPUTS, Arrays
from devices.target import Target

if TYPE_CHECKING:
    from deploy.encoder import Encoder

Array = np.ndarray[Any, Any]

REAL = "real"
REAL_EXAMPLES = 64
_REAL_WIDE = 8  # where every token has outputs for the whole vocabulary
_OTHERWISE = "export it again, or choose another precision or runtime"
_SUMS_IN_16_BITS = ("onnxruntime", "onnxruntime-mobile")  # on x86 without VNNI
_ONE_OF_CLASSES = ("classification", "token-classification", "masked-language-model")


@dataclass(frozen=True)
class Tolerance:
    """What a case must hold.

    Attributes:
        error: largest absolute error, relative to the scale of the logits; None where a single
            number says little.
        cosine: of all the case's outputs taken as one vector.
        agreement: share of rows with the same largest logit, among the rows whose two largest
            logits are further apart than ``margin`` times the scale.
    """

    error: float | None
    cosine: float
    agreement: float
    margin: float


TOLERANCES: Mapping[str, Tolerance] = {
    "fp32": Tolerance(error=1e-4, cosine=0.9999, agreement=1.0, margin=1e-4),
    "fp16": Tolerance(error=0.02, cosine=0.999, agreement=1.0, margin=0.05),
    "bf16": Tolerance(error=0.05, cosine=0.99, agreement=1.0, margin=0.1),
    "int8": Tolerance(error=None, cosine=0.95, agreement=0.95, margin=0.2),
}
"""Ten to a hundred times what sound exports of random encoders show for fp32 (1e-6), three to ten
times for bf16 (0.005 to 0.015). Sound int8 files err by up to 0.16 of the scale on single logits,
so they, of whatever kind, are held to direction and decision."""


@dataclass(frozen=True)
class ParityCase:
    """One comparison; see :class:`Tolerance` for the terms.

    Attributes:
        agreement: None where no row has a margin that counts, or there are no classes.
        judged: whether the tolerance applies; where not, the numbers only have to be finite.
    """

    name: str
    rows: int
    max_error: float
    cosine: float
    agreement: float | None
    judged: bool
    passed: bool


@dataclass(frozen=True)
class ParityReport:
    """What the gate saw.

    Attributes:
        scale: the largest absolute value among the reference's outputs.
        advice: what to do where it is not passed.
    """

    target: str
    precision: str
    scale: float
    tolerance: Tolerance
    cases: tuple[ParityCase, ...]
    advice: str = _OTHERWISE

    @property
    def passed(self) -> bool:
        return all(case.passed for case in self.cases)

    @property
    def verdict(self) -> str:
        """One sentence: that the gate is passed, or the worst case."""
        failed = [case for case in self.cases if not case.passed]
        if not failed:
            return f"{self.target}: the exported file answers as the encoder does."
        # A missing or infinite answer is worse than any number.
        worst = max(failed, key=lambda c: np.nan_to_num(c.max_error, nan=np.inf, posinf=np.inf))
        agreement = "" if worst.agreement is None else f", same answer on {worst.agreement:.1%}"
        return (
            f"{self.target}: the exported file does not answer as the encoder does in case "
            f"{worst.name!r} ({len(failed)} of {len(self.cases)} failed): largest error "
            f"{worst.max_error:.2g} on a scale of {self.scale:.2g}, cosine {worst.cosine:.4f}"
            f"{agreement}; {self.advice}."
        )

    def require(self) -> None:
        """Raises ParityFailed with :attr:`verdict`, unless the gate is passed."""
        if not self.passed:
            raise ParityFailed(self.verdict)

    def to_json(self) -> dict[str, Any]:
        return {"schema": 1, "passed": self.passed, **asdict(self)}


def check_parity(
    encoder: Encoder,
    device: Device,
    target: Target,
    exported: Exported,
    *,
    batches: Sequence[Arrays] | None = None,
) -> ParityReport:
    """Compare ``exported``, run by ``device`` in a fresh process, with ``encoder`` in torch fp32.

    Args:
        batches: real inputs, as of :class:`Reference`.

    Raises:
        DeviceError: the file cannot be loaded or run there.
    """
    return Reference(encoder, batches).check(device, target, exported)


class Reference:
    """What an encoder answers in torch fp32, for any number of exports of it to be compared with.

    Args:
        batches: real inputs, of which the first 64 examples are used. int8 is then judged on them
            alone: scales taken from real texts say nothing about random ids.
    """

    def __init__(self, encoder: Encoder, batches: Sequence[Arrays] | None = None) -> None:
        self._cases = synthetic_cases(encoder.architecture)
        if batches:
            self._cases[REAL] = _first(batches, _REAL_WIDE if _wide(encoder) else REAL_EXAMPLES)
        self._inputs = [batch for case in self._cases.values() for batch in case]
        self._telling = REAL if batches else "mixed lengths"
        self._has_classes = encoder.architecture.output in _ONE_OF_CLASSES
        self._expected = self._by_case(_answers(encoder, self._inputs))
        self._scale = max(
            float(np.abs(part).max()) for case in self._expected.values() for part in case
        )

    def check(self, device: Device, target: Target, exported: Exported) -> ParityReport:
        """Compare ``exported``, run by ``device`` in a fresh process.

        Raises DeviceError where the file cannot be loaded or run there.
        """
        answers = device.run(
            target.runtime, exported.path, target.precision, target.threads, self._inputs
        )
        quantised = PRECISIONS[target.precision].quantised
        tolerance = TOLERANCES["int8" if quantised else target.precision]
        judged = {*self._cases} if tolerance.error is not None else {self._telling}
        got = self._by_case([outputs for outputs, *_ in answers])
        compared = tuple(
            _compare(
                name, wanted, got[name], self._scale, tolerance, name in judged, self._has_classes
            )
            for name, wanted in self._expected.items()
        )
        advice = _advice(target, set(device.fingerprint().flags))
        return ParityReport(str(target), target.precision, self._scale, tolerance, compared, advice)

    def _by_case(self, outputs: Sequence[Array]) -> dict[str, list[Array]]:
        left = iter(outputs)
        return {
            name: [_rows(next(left), batch) for batch in case] for name, case in self._cases.items()
        }


def _advice(target: Target, flags: set[str]) -> str:
    """onnxruntime adds products of 8 bits in 16 where the processor cannot do it in 32, and the sums
    overflow; weights of 7 bits keep them small."""
    quantised = PRECISIONS[target.precision].quantised and target.precision != "int8-reduced"
    overflows = "avx2" in flags and not flags & {"avx512_vnni", "avx_vnni"}
    if quantised and overflows and target.runtime in _SUMS_IN_16_BITS:
        return (
            "this processor has no VNNI, and without it 8-bit sums overflow: choose int8-reduced of "
            "onnxruntime, or another runtime"
        )
    return _OTHERWISE


def _wide(encoder: Encoder) -> bool:
    return encoder.architecture.output == "masked-language-model"


def _rows(outputs: Array, batch: Arrays) -> Array:
    """Outputs for every example, or for every token but padding: [rows, outputs].

    What is of another shape than it should be is left so, and fails the comparison."""
    mask = batch["attention_mask"].astype(bool)
    return outputs[mask] if outputs.ndim == 3 and outputs.shape[:2] == mask.shape else outputs


def _first(batches: Sequence[Arrays], examples: int) -> list[Arrays]:
    chosen: list[Arrays] = []
    left = examples
    for batch in batches:
        if left > 0:
            chosen.append({name: array[:left] for name, array in batch.items()})
            left -= len(batch["input_ids"])
    return chosen


def _answers(encoder: Encoder, inputs: Sequence[Arrays]) -> list[Array]:
    import torch

    from deploy.exporters.staging import plain_copy

    plain = plain_copy(encoder)
    with torch.inference_mode():
        return [
            plain(*(torch.from_numpy(batch[name]) for name in INPUTS)).numpy() for batch in inputs
        ]


def _compare(
    name: str,
    expected: Sequence[Array],
    answers: Sequence[Array],
    scale: float,
    tolerance: Tolerance,
    judged: bool,
    has_classes: bool,
) -> ParityCase:
    wanted = np.concatenate(expected)
    shapes_agree = all(a.shape == b.shape for a, b in zip(expected, answers, strict=True))
    got = np.concatenate(answers) if shapes_agree else np.full_like(wanted, np.nan)
    with np.errstate(invalid="ignore", over="ignore"):  # a broken file may answer anything
        error = float(np.abs(wanted - got).max())
        cosine = _cosine(wanted, got)
    agreement = _agreement(wanted, got, tolerance.margin * scale) if has_classes else None
    passed = bool(np.isfinite(got).all())
    if judged:
        passed = (
            passed
            and (tolerance.error is None or error <= tolerance.error * scale)
            and cosine >= tolerance.cosine
            and (agreement is None or agreement >= tolerance.agreement)
        )
    return ParityCase(name, len(wanted), error, cosine, agreement, judged, passed)


def _cosine(wanted: Array, got: Array) -> float:
    norms = float(np.linalg.norm(wanted) * np.linalg.norm(got))
    return float((wanted * got).sum()) / norms if norms else float(np.array_equal(wanted, got))


def _agreement(wanted: Array, got: Array, margin: float) -> float | None:
    ordered = np.sort(wanted, axis=-1)
    clear = ordered[:, -1] - ordered[:, -2] > margin
    if not clear.any():
        return None
    return float((wanted.argmax(-1) == got.argmax(-1))[clear].mean())
