import torch

from elastic.masks import gathering, scaled, skipped


def test_a_mask_of_ones_changes_nothing_and_of_zeros_leaves_the_bias(encoder) -> None:
    states, mask = torch.randn(2, 5, 32), torch.zeros(2, 1, 1, 5)
    for layer, units in zip(encoder.operators, (4, 48, 4, 48), strict=True):
        plain = layer(states, mask)
        with scaled(layer, torch.ones(units)):
            assert layer(states, mask).equal(plain)
        with scaled(layer, torch.zeros(units)):
            expected = layer.norm(states + gathering(layer).bias)
            torch.testing.assert_close(layer(states, mask), expected)
        assert layer(states, mask).equal(plain)


def test_every_example_may_have_a_mask_of_its_own(encoder) -> None:
    states, mask = torch.randn(2, 5, 32), torch.zeros(2, 1, 1, 5)
    layer = encoder.operators[0]
    own = torch.tensor([[[1.0, 0, 1, 0]], [[0, 1, 1, 1]]])
    with scaled(layer, own):
        together = layer(states, mask)
    for row in range(2):
        with scaled(layer, own[row, 0]):
            alone = layer(states[row : row + 1], mask[row : row + 1])
        torch.testing.assert_close(together[row : row + 1], alone)


def test_a_skipped_layer_hands_on_its_input(encoder) -> None:
    states, mask = torch.randn(2, 5, 32), torch.zeros(2, 1, 1, 5)
    with skipped(encoder.operators[1]):
        assert encoder.operators[1](states, mask).equal(states)
    assert not encoder.operators[1](states, mask).equal(states)
