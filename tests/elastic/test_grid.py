import numpy as np

from elastic.search.strategies.grid import Grid


class Everything:
    def fit(self, _) -> bool:
        return True


def asked(levels: list[int]) -> list:
    strategy = Grid([np.arange(n, dtype=float) for n in levels], [Everything()], seed=0)
    found = []
    while (choice := strategy.ask()) is not None:
        strategy.tell(choice, 0.0)
        found.append(choice)
    return found


def test_one_width_for_all_layers_that_stay() -> None:
    found = asked([4, 4] * 4)
    assert found[:3] == [(0,) * 8, (1,) * 8, (2,) * 8]
    assert len(found) == 3 * 4


def test_layers_that_go_are_spread_evenly() -> None:
    found = asked([2, 2] * 12)
    gone = [{p // 2 for p, level in enumerate(choice) if level} for choice in found]
    assert gone[3] == {3, 7, 11}  # ¾ of the depth, as the paper has it
    assert gone[6] == {1, 3, 5, 7, 9, 11}
    assert [len(some) for some in gone] == list(range(12))


def test_rows_of_fewer_levels_take_the_nearest_share() -> None:
    assert (1, 4) in asked([3, 6])
    assert (0, 1) in asked([3, 6])
