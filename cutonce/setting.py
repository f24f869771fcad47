"""What one search works with."""

from __future__ import annotations

from dataclasses import dataclass

from cutonce.runs import Run
from deploy.export_pool import ExportPool
from deploy.task import Task
from deploy.workload import Workload
from elastic.checkpoint import ElasticCheckpoint
from elastic.families import LoadedModel
from elastic.search.budget import Budget
from elastic.trunk import Trunk
from profiler.store import Store


@dataclass(frozen=True)
class Setting:
    """What one search works with.

    Attributes:
        model: the dense one. trained: its sub-networks, where a recipe trained them.
        trunks: the dense one first.
        fleet: the scheduler whose workers evaluate sub-networks; None where this process does.
    """

    model: LoadedModel
    task: Task
    workload: Workload
    budgets: tuple[Budget, ...]
    trained: ElasticCheckpoint | None
    trunks: tuple[Trunk, ...]
    store: Store
    pool: ExportPool
    run: Run
    visits: int
    rounds: int
    epochs: float
    seed: int
    fleet: str | None = None
