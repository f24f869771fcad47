"""Budgets that leave runtime and precision open: DEVICE/auto[@THREADS].

They are settled before the search, which then goes by the latency of one target: every variant of the
dense model competes (cutonce.variants), and the fastest that is correct is searched for. What it was is
kept in the run, so that an interrupted search goes on for the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from cutonce.scores import ALLOWED_LOSS
from cutonce.setting import Setting
from cutonce.variants import AUTO, Contest, targets_of
from devices.errors import UsageError
from devices.files import write_json
from elastic.search.budget import Budget

Settled = Mapping[str, Mapping[str, Any]]
"""DEVICE/auto to ``{"target": …, "variants": […]}``: what was chosen, and how all did."""


def open_targets(budgets: Iterable[str]) -> list[str]:
    """The DEVICE/auto of these budgets."""
    names = (part.strip().rpartition("=")[0] for text in budgets for part in text.split(","))
    return [name for name in dict.fromkeys(names) if AUTO.fullmatch(name)]


def parse_budgets(budgets: Iterable[str], targets: Mapping[str, str]) -> tuple[Budget, ...]:
    """Each once, with targets in the place of the names that stand for them."""
    return tuple(dict.fromkeys(_parsed(text, targets) for text in budgets))


def _parsed(budget: str, targets: Mapping[str, str]) -> Budget:
    settled = _with_targets(budget, targets)
    try:
        return Budget.parse(settled)
    except UsageError as error:  # about what was given, not what it stands for
        raise UsageError(str(error).replace(settled, budget)) from error


def _with_targets(budget: str, targets: Mapping[str, str]) -> str:
    parts = []
    for part in budget.split(","):
        name, equals, limit = part.strip().rpartition("=")
        parts.append(f"{targets.get(name, name)}{equals}{limit}")
    return ",".join(parts)


def settle(names: Iterable[str], setting: Setting) -> Settled:
    """The fastest correct variant of the dense model for each; what ``setting`` has for
    budgets does not matter.

    Raises GateNotMet where none is correct.
    """
    path = setting.run.work / "automatic.json"
    if path.exists():
        found: Settled = json.loads(path.read_text())
        return found
    settled = {name: _contest(name, setting) for name in names}
    write_json(path, settled)
    return settled


def _contest(name: str, setting: Setting) -> dict[str, Any]:
    contest = Contest(setting.model.encoder, targets_of(name), setting.workload)
    with TemporaryDirectory() as place:
        contest.hold(
            Path(place),
            task=setting.task,
            calibration=setting.task.calibration(),
            allowed_loss=ALLOWED_LOSS,
            store=setting.store,
            visits=setting.visits,
            seed=setting.seed,
        )
        return {"target": str(contest.fastest()), "variants": contest.to_json()}
