"""Our way to cut without training, and the rivals', re-derived on the same elastic encoder.

Every method is given the same unlabelled batches, the same measured latencies and the same budget.

- `ours`: order by elimination, error of every module at every size with its weights refitted, exact
  knapsacks of which the joint divergence chooses one, bottom-up least squares.
- `magnitude`: the units of least weight norm go, wherever they are.
- `uniform`: DynaBERT (Hou et al. 2020, arXiv 2004.04037): one width fraction for all layers, units in
  the order of its first-order importance (rewiring).
- `fisher mask`: Kwon et al. 2022 (arXiv 2204.09656): diagonal Fisher of masks, the set of units of
  least sum that fits the latency, then the masks that are left rescaled by least squares, layer by layer.
- `top layers`: the last layers go (Sajjad et al. 2020, arXiv 2004.03844).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from deploy.encoder import Encoder
from devices.runtimes import Arrays
from elastic.elastic_encoder import ElasticEncoder
from elastic.importance import IMPORTANCES
from elastic.masks import gathering
from elastic.reconstruction.database import eliminated
from elastic.reconstruction.least_squares import reconstruct
from elastic.search.divergence import Divergence
from elastic.search.each_text import EachText
from elastic.search.feasible import Feasible, Limit
from elastic.search.judge import SEARCH, Judge
from elastic.search.knapsack import cheapest
from elastic.search.sensitivity import module_errors
from elastic.search.texts import Texts
from elastic.space import Chain, Choice, SearchSpace, size_of
from elastic.tensors import tensors
from predictors.cost_table import CostTable

Errors = Sequence[np.ndarray[Any, Any]]
Choose = Callable[[CostTable, float], Choice]
Finish = Callable[[Encoder, Encoder, Chain, Sequence[Arrays]], None]
METHODS = ("ours", "magnitude", "uniform", "fisher mask", "top layers")
RIDGE = 1e-2  # towards masks of 1, of the mean of the diagonal


@dataclass(frozen=True, eq=False)
class Method:
    """One way to cut.

    Attributes:
        choose: from a cost table and a limit in milliseconds.
        finish: (dense, student, chain, batches), in place.
        seconds: that making it took: importance, and errors of modules.
    """

    name: str
    elastic: ElasticEncoder
    choose: Choose
    finish: Finish
    seconds: float

    def cut(self, space: SearchSpace, choice: Choice, batches: Sequence[Arrays]) -> Encoder:
        chain = space.chain(choice)
        student = self.elastic.extract(chain)
        self.finish(self.elastic.dense, student, chain, batches)
        return student


def make_methods(
    dense: Encoder,
    space: SearchSpace,
    batches: Sequence[Arrays],
    search: Sequence[Arrays],
    seed: int,
) -> list[Method]:
    """All methods on the same calibration ``batches``; ``search`` are those that errors are taken on."""

    def timed(
        name: str, make: Callable[[], tuple[ElasticEncoder, Choose]], finish: Finish
    ) -> Method:
        began = time.monotonic()
        elastic, choose = make()
        return Method(name, elastic, choose, finish, time.monotonic() - began)

    def score(name: str) -> list[np.ndarray[Any, Any]]:
        found: list[np.ndarray[Any, Any]] = IMPORTANCES.get(name)(dense, batches, seed=seed)
        return found

    def ours() -> tuple[ElasticEncoder, Choose]:
        elastic, database = eliminated(dense, batches, seed=seed)
        texts = Texts(dense, search, seed=seed)
        errors = module_errors(elastic, space, texts, database, every=SEARCH)
        apart = Divergence(EachText(elastic, texts, database))
        judge = Judge(errors, lambda choice, every: apart(space.chain(choice), every))

        def choose(table: CostTable, ms: float) -> Choice:
            [choice] = judge.decode([Feasible(Limit(table, ms))])
            return cheapest(table) if choice is None else choice

        return elastic, choose

    def ranked(name: str) -> Callable[[], tuple[ElasticEncoder, Choose]]:
        def make() -> tuple[ElasticEncoder, Choose]:
            scores = score(name)
            return ElasticEncoder(dense, scores), by_errors(removed(scores, space))

        return make

    def uniform() -> tuple[ElasticEncoder, Choose]:
        elastic = ElasticEncoder(dense, score("taylor-dynabert"))
        return elastic, lambda table, ms: first_fitting(uniform_choices(space), table, ms)

    def top() -> tuple[ElasticEncoder, Choose]:
        return ElasticEncoder(dense), lambda table, ms: first_fitting(top_choices(space), table, ms)

    ways = [
        (ours, reconstruct),
        (ranked("magnitude"), as_it_is),
        (uniform, as_it_is),
        (ranked("fisher"), rescale),
        (top, as_it_is),
    ]
    return [timed(name, *way) for name, way in zip(METHODS, ways, strict=True)]


def by_errors(errors: Errors) -> Choose:
    def choose(table: CostTable, ms: float) -> Choice:
        found = Feasible(Limit(table, ms)).decode(errors)
        return tuple(map(int, cheapest(table) if found is None else found))

    return choose


def removed(scores: Errors, space: SearchSpace) -> list[np.ndarray[Any, Any]]:
    """Per position and choice the sum of the scores of what is gone."""
    found = []
    for values, some in zip(scores, space.choices, strict=True):
        lost = np.concatenate([[0.0], np.cumsum(np.sort(values))])
        found.append(np.array([lost[len(values) - size_of(operator)] for operator in some]))
    return found


def uniform_choices(space: SearchSpace) -> list[Choice]:
    """Every position at the size nearest to one share of the dense one, from large to small shares."""
    return [
        tuple(
            min(
                (level for level, operator in enumerate(some) if operator is not None),
                key=lambda level: abs(size_of(some[level]) - share * size_of(some[0])),
            )
            for some in space.choices
        )
        for share in np.linspace(1, 0, 201)
    ]


def top_choices(space: SearchSpace) -> list[Choice]:
    """Without the last layer, the last two, …; what cannot be dropped stays."""
    count = len(space.choices)
    return [
        tuple(
            0 if place < count - 2 * gone or some[-1] is not None else len(some) - 1
            for place, some in enumerate(space.choices)
        )
        for gone in range(count // 2 + 1)
    ]


def first_fitting(choices: Sequence[Choice], table: CostTable, ms: float) -> Choice:
    return next((choice for choice in choices if table.upper(choice) <= ms), choices[-1])


def as_it_is(_dense: Encoder, _student: Encoder, _chain: Chain, _batches: Sequence[Arrays]) -> None:
    """Nothing makes up for what was cut."""


def rescale(dense: Encoder, student: Encoder, chain: Chain, batches: Sequence[Arrays]) -> None:
    """A factor for every kept unit, so that its sub-layer gives what the dense one gives at its place.

    With c_i = W_i u_i what unit i adds, the factors m minimise Σ ‖Σ m_i c_i + b + x − t‖² (ibid. §3.3).
    """
    under_way = []
    with torch.inference_mode():
        for batch in batches:
            inputs = tensors(batch, dense)
            states, mask = dense.embed(**inputs)
            under_way.append(
                [states, student.embed(**inputs)[0], mask, inputs["attention_mask"] > 0]
            )
        kept = iter(student.operators)
        for layer, operator in zip(dense.operators, chain, strict=True):
            own = None if operator is None else next(kept)
            for batch in under_way:
                batch[0], target = _before_norm(layer, batch[0], batch[2])
                batch.append(target)
            if own is not None:
                if size_of(operator) > 1:
                    _rescale_layer(own, size_of(operator), under_way)
                for batch in under_way:
                    batch[1] = own(batch[1], batch[2])
            for batch in under_way:
                batch.pop()


def _before_norm(layer: Any, states: Any, mask: Any) -> tuple[Any, Any]:
    if not hasattr(layer, "added") or layer.pre:
        found = layer(states, mask)
        return found, found
    total = states + layer.added(states, mask)
    return layer.norm(total), total


def _rescale_layer(layer: Any, units: int, batches: Sequence[list[Any]]) -> None:
    linear = gathering(layer)
    inner = linear.in_features // units
    weight = linear.weight.double()
    products = weight.T @ weight  # [inputs, inputs]
    gram = torch.zeros(len(products), len(products), dtype=torch.float64)
    cross = torch.zeros(len(products), dtype=torch.float64)
    for _, states, mask, real, target in batches:
        read = _read_by(layer, linear, states, mask)[real].double()
        wanted = (target - states)[real].double() - linear.bias.double()
        gram += read.T @ read
        cross += (read * (wanted @ weight)).sum(0)
    blocks = (gram * products).unflatten(0, (units, inner)).unflatten(-1, (units, inner))
    system, right = blocks.sum((1, 3)), cross.unflatten(0, (units, inner)).sum(1)
    ridge = RIDGE * system.diagonal().mean()
    factors = torch.linalg.solve(system + ridge * torch.eye(units), right + ridge)
    linear.weight.mul_(factors.repeat_interleave(inner).to(linear.weight))


def _read_by(layer: Any, linear: Any, states: Any, mask: Any) -> Any:
    caught: list[Any] = []
    handle = linear.register_forward_pre_hook(lambda _m, inputs: caught.append(inputs[0]))
    try:
        layer(states, mask)
    finally:
        handle.remove()
    return caught[0]
