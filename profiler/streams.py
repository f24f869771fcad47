"""Copies of one model that run side by side. Travels inside the agent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from time import perf_counter_ns

from devices.runtimes import Arrays, Session

STREAK = 4  # runs in a row of every stream, so that little of the time one waits for another


@contextmanager
def side_by_side(
    sessions: Sequence[Session], inputs: Arrays
) -> Iterator[Callable[[], tuple[int, int]]]:
    """What runs the sessions once, or where there are several a few times each, all at once; it gives the
    nanoseconds that passed, and how many runs they were.

    Sessions with a clock of their own share one device, on which they take turns.
    """
    if len(sessions) == 1:
        yield lambda: (_take(sessions[0], inputs), 1)
        return
    with ThreadPoolExecutor(len(sessions)) as pool:

        def streak(session: Session) -> int:
            return sum(_take(session, inputs) for _ in range(STREAK))

        def together() -> tuple[int, int]:
            start = perf_counter_ns()
            own = sum(pool.map(streak, sessions))
            passed = perf_counter_ns() - start if sessions[0].clock is None else own
            return passed, STREAK * len(sessions)

        yield together


def _take(session: Session, inputs: Arrays) -> int:
    clock = session.clock or perf_counter_ns
    start = clock()
    session.run(inputs)
    return clock() - start
