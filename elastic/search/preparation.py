"""What a search starts from: the elastic encoder, and the error of every module at every size."""

from __future__ import annotations

from collections.abc import Sequence

from deploy.encoder import Encoder
from devices.runtimes import Arrays
from elastic.elastic_encoder import ElasticEncoder
from elastic.reconstruction.database import Database, worth_by_elimination
from elastic.reconstruction.moments import second_moments
from elastic.search.knapsack import Errors
from elastic.search.sensitivity import Progress, module_errors
from elastic.space import SearchSpace


def prepare(
    dense: Encoder,
    space: SearchSpace,
    calibration: Sequence[Arrays],
    search: Sequence[Arrays],
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> tuple[ElasticEncoder, Errors]:
    """Units in the order of their elimination, and errors of modules with their weights refitted.

    Args:
        calibration: batches that second moments are taken on. search: those that errors are taken on.

    Raises UsageError where there is no batch.
    """
    moments = second_moments(dense, calibration, seed=seed)
    elastic = ElasticEncoder(dense, worth_by_elimination(dense, moments))
    database = Database(elastic, second_moments(elastic.dense, calibration, seed=seed))
    return elastic, module_errors(elastic, space, search, database, progress)
