"""Rivals of the natural gradient, through their own libraries where they have one.

Each is called as ``rival(world, errors, seed)`` and yields the choices it has evaluated, without end.
What misses the budget costs no evaluation but in `SNG, released`: its latency is predicted, and told as a
violation to those who take one.

- `evolution`: OFA's and HAT's (Cai et al. 2020, Wang et al. 2020): parents are the best, children their
  mutations (each position with probability 0.3) and crossovers, all that misses the budget drawn again.
  HAT's population of 125 with 25 parents, 50 mutations and 50 crossovers, a fifth of it where hundreds
  of evaluations are to do. `evolution, warm` begins with what the prior decodes to and its mutations.
- `NSGA-II` (pymoo): loss and latency as two objectives, the budget as a constraint.
- `CatCMA with margin` (cmaes): levels are integers; a violation ranks behind all that fits.
- `TPE` (optuna), with the violation as its constraint.
- `SNG, released`: YOCO-BERT's search as its code does it (app/search_subbert.py): any network is drawn
  and evaluated, one above the budget scored with the share of its quality exp(−loss) that is left by
  (1 − (cost − budget) / (dense − budget))², and equal qualities are ranked as if they were not.
- `SPDY` (Frantar & Alistarh 2022): a sensitivity per position, drawn at first and then changed at a few,
  times quadratic priors, decoded by dynamic programming.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import count

import numpy as np
from search_tables import World

from elastic.search.knapsack import Array, Errors
from elastic.search.strategies.sng import SAMPLES, Theta
from elastic.space import Choice

Rival = Callable[[World, Errors, int], Iterator[Choice]]
POPULATION, PARENTS, CHANGE = 25, 5, 0.3
DRAWS = 200  # until a child that fits is found
SPDY_FIRST, SPDY_CHANGED = 100, 0.1


def random_feasible(world: World, _: Errors, seed: int) -> Iterator[Choice]:
    rng, even = np.random.default_rng(seed), [np.zeros(n) for n in world.table.levels]
    while (choice := world.sample(even, rng)) is not None:
        yield choice


def evolution(
    world: World, _: Errors, seed: int, first: tuple[Choice, ...] = ()
) -> Iterator[Choice]:
    rng = np.random.default_rng(seed)
    even, levels = [np.zeros(n) for n in world.table.levels], world.table.levels
    losses: dict[Choice, float] = {}

    def fitting(make: Callable[[], Choice | None]) -> Choice:
        for _ in range(DRAWS):
            choice = make()
            if choice and choice not in losses and world.fit(choice):
                return choice
        return drawn()

    def drawn() -> Choice:
        return world.sample(even, rng) or tuple(n - 1 for n in levels)

    def mutated(parents: Sequence[Choice]) -> Choice:
        parent = parents[rng.integers(len(parents))]
        return tuple(
            int(rng.integers(n)) if rng.random() < CHANGE else level
            for level, n in zip(parent, levels, strict=True)
        )

    def crossed(parents: Sequence[Choice]) -> Choice:
        pairs = zip(*(parents[rng.integers(len(parents))] for _ in range(2)), strict=True)
        return tuple(pair[rng.integers(2)] for pair in pairs)

    make = partial(mutated, first) if first else drawn
    generation = [*first, *(fitting(make) for _ in range(POPULATION - len(first)))]
    while True:
        for choice in generation:
            losses[choice] = world.loss(choice)
            yield choice
        parents = sorted(losses, key=losses.__getitem__)[:PARENTS]
        ways = [partial(mutated, parents), partial(crossed, parents)]
        generation = [fitting(way) for way in ways for _ in range((POPULATION - PARENTS) // 2)]


def warm_evolution(world: World, errors: Errors, seed: int) -> Iterator[Choice]:
    first = world.decode(errors)
    return evolution(world, errors, seed, () if first is None else (first,))


def nsga2(world: World, _: Errors, seed: int) -> Iterator[Choice]:
    from pymoo.algorithms.moo.nsga2 import NSGA2
    from pymoo.core.evaluator import Evaluator
    from pymoo.core.problem import Problem
    from pymoo.operators.crossover.sbx import SBX
    from pymoo.operators.mutation.pm import PM
    from pymoo.operators.repair.rounding import RoundingRepair
    from pymoo.operators.sampling.rnd import IntegerRandomSampling
    from pymoo.problems.static import StaticProblem

    tops = np.array(world.table.levels) - 1
    problem = Problem(n_var=len(tops), n_obj=2, n_ieq_constr=1, xl=0, xu=tops, vtype=int)
    algorithm = NSGA2(
        pop_size=POPULATION,
        sampling=IntegerRandomSampling(),
        crossover=SBX(vtype=float, repair=RoundingRepair()),
        mutation=PM(vtype=float, repair=RoundingRepair()),
        eliminate_duplicates=True,
    )
    algorithm.setup(problem, termination=("n_gen", 10_000), seed=seed)
    worst = float(world.table.losses.max())
    while algorithm.has_next():
        asked = algorithm.ask()
        rows = np.rint(asked.get("X")).astype(int)
        over = violation(world, rows)
        losses = [
            worst if v > 0 else world.loss(as_choice(x)) for x, v in zip(rows, over, strict=True)
        ]
        both = np.stack([losses, world.table.cost(rows)], axis=1)
        Evaluator().eval(StaticProblem(problem, F=both, G=over[:, None]), asked)
        algorithm.tell(infills=asked)
        yield from (as_choice(x) for x, v in zip(rows, over, strict=True) if v <= 0)


def catcma(world: World, _: Errors, seed: int) -> Iterator[Choice]:
    from cmaes import CatCMAwM

    levels = [list(range(n)) for n in world.table.levels]
    optimizer = CatCMAwM(z_space=levels, seed=seed)
    worst = float(world.table.losses.max())
    while True:
        solutions = []
        for _ in range(optimizer.population_size):
            solution = optimizer.ask()
            choice = as_choice(np.asarray(solution.z))
            over = float(violation(world, np.array([choice]))[0])
            if over > 0:
                solutions.append((solution, worst + over))
                continue
            solutions.append((solution, world.loss(choice)))
            yield choice
        optimizer.tell(solutions)


def tpe(world: World, _: Errors, seed: int) -> Iterator[Choice]:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler = optuna.samplers.TPESampler(
        seed=seed, constraints_func=lambda trial: trial.user_attrs["over"]
    )
    study = optuna.create_study(sampler=sampler)
    worst = float(world.table.losses.max())
    while True:
        trial = study.ask()
        choice = tuple(
            trial.suggest_int(str(p), 0, n - 1) for p, n in enumerate(world.table.levels)
        )
        over = float(violation(world, np.array([choice]))[0])
        trial.set_user_attr("over", (over,))
        study.tell(trial, worst if over > 0 else world.loss(choice))
        if over <= 0:
            yield choice


def sng_released(world: World, _: Errors, seed: int) -> Iterator[Choice]:
    rng, theta = np.random.default_rng(seed), Theta(world.table.levels)
    while True:
        drawn = [
            tuple(int(rng.choice(len(row), p=row)) for row in theta.rows) for _ in range(SAMPLES)
        ]
        yield from drawn
        cost = np.minimum(np.maximum(dense_share(world, np.array(drawn)), 0), 1)
        quality = np.exp([-world.loss(choice) for choice in drawn]) * np.square(1 - cost)
        theta.step(drawn, released_utilities(-quality))


def released_utilities(losses: Array) -> Array:
    """[2] -> [2]: +1 and −1. Its test of equals compares with a share of what is negative, and never
    finds any."""
    order = np.argsort(losses, kind="stable")
    found = np.zeros(len(losses))
    found[order[0]], found[order[-1]] = 1.0, -1.0
    return found


def dense_share(world: World, rows: Array) -> Array:
    """[n, positions] -> [n]: 0 at the budget, 1 at the dense network."""
    dense = world.table.cost(np.zeros((1, len(world.table.levels)), int))[0]
    found: Array = (world.table.cost(rows) - world.capacity) / max(1, dense - world.capacity)
    return found


def spdy(world: World, _: Errors, seed: int) -> Iterator[Choice]:
    rng = np.random.default_rng(seed)
    curves = [np.square(np.arange(n) / max(1, n - 1)) for n in world.table.levels]
    best, least = rng.random(len(curves)), math.inf
    for step in count():
        tried = rng.random(len(curves))
        if step >= SPDY_FIRST // 4:
            kept = rng.random(len(curves)) >= max(SPDY_CHANGED, 1 / len(curves))
            tried = np.where(kept, best, tried)
        choice = world.decode([c * row for c, row in zip(tried, curves, strict=True)])
        if choice is None:
            return
        loss = world.loss(choice)
        if loss <= least:
            best, least = tried, loss
        yield choice


def violation(world: World, rows: Array) -> Array:
    """[n, positions] -> [n]: share of the budget that is exceeded, at most 0 where it is kept."""
    found: Array = world.table.cost(rows) / max(1, world.capacity) - 1
    return found


def as_choice(row: Array) -> Choice:
    return tuple(int(level) for level in row)


RIVALS: dict[str, Rival] = {
    "random": random_feasible,
    "evolution": evolution,
    "evolution, warm": warm_evolution,
    "NSGA-II": nsga2,
    "CatCMA with margin": catcma,
    "TPE": tpe,
    "SNG, released": sng_released,
    "SPDY": spdy,
}
