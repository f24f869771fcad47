import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from deploy.architecture import uniform
from deploy.encoder import Encoder
from devices.errors import ModelError, UsageError
from devices.fingerprint import local_fingerprint
from elastic.recipes import training
from elastic.recipes.training import _require_examples, fit, inputs_of

SETTINGS = {"epochs": 1.0, "learning_rate": 1e-3, "batch_size": 32, "seed": 0}


def cross_entropy(model, batch):
    return nn.functional.cross_entropy(model(**inputs_of(batch)), batch["labels"])


@pytest.fixture
def student(make_encoder) -> Encoder:
    return make_encoder(2)


def test_every_example_comes_once_per_epoch_with_its_own_label_and_little_padding(
    student, task
) -> None:
    train, seen, wasted = task.split("train"), [], []

    def loss(model, batch):
        for row, index in enumerate(batch["index"].tolist()):
            length = int(batch["attention_mask"][row].sum())
            assert batch["input_ids"][row, :length].tolist() == train.tokens.ids[index]
            assert batch["labels"][row] == train.labels[index]
            seen.append(index)
        wasted.append(1 - float(batch["attention_mask"].float().mean()))
        return cross_entropy(model, batch)

    fit(student, task, loss=loss, **(SETTINGS | {"epochs": 2.0}))
    assert sorted(seen) == sorted(list(range(len(train))) * 2)
    assert seen[: len(train)] != seen[len(train) :]
    unsorted = 1 - train.tokens.lengths.mean() / train.tokens.lengths.max()
    assert sum(wasted) / len(wasted) < 0.5 * unsorted


def test_it_lowers_the_loss_and_leaves_the_model_evaluating(student, task) -> None:
    values = []

    def loss(model, batch):
        assert model.training
        values.append(cross_entropy(model, batch))
        return values[-1]

    fit(student, task, loss=loss, **(SETTINGS | {"epochs": 8.0}))
    assert not student.training
    third = len(values) // 3
    assert sum(values[-third:]) < 0.9 * sum(values[:third])


def test_mixed_precision_is_of_every_part_of_the_model(student, task, monkeypatch) -> None:
    """As on a GPU: losses call views and sub-layers, past the forward that accelerate wraps."""
    plain, kinds = training._unchanging(), set()
    monkeypatch.setattr(training, "_unchanging", lambda: plain | {"bf16": True})

    def loss(model, batch):
        kinds.add((model.operators[0].query.weight @ torch.ones(model.architecture.hidden)).dtype)
        return cross_entropy(model, batch)

    fit(student, task, loss=loss, **(SETTINGS | {"epochs": 0.1}))
    assert kinds == {torch.bfloat16}


@pytest.mark.parametrize(
    ("flags", "told", "narrow"),
    [
        (("avx512_bf16",), None, True),
        (("avx2", "avx512f"), None, False),
        (("amx_bf16",), "no", False),
    ],
)
def test_products_are_in_bf16_where_the_processor_has_it_unless_accelerate_is_told(
    flags, told, narrow, monkeypatch
) -> None:
    here = replace(local_fingerprint(), flags=flags)
    monkeypatch.setattr(training, "local_fingerprint", lambda: here)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.delenv(training.MIXED_PRECISION)
    if told:
        monkeypatch.setenv(training.MIXED_PRECISION, told)
    assert training._unchanging()["bf16"] is narrow


def test_without_a_place_nothing_is_written(student, task, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    fit(student, task, loss=cross_entropy, **(SETTINGS | {"epochs": 0.25}))
    assert list(tmp_path.iterdir()) == []


def test_finished_training_is_taken_from_its_one_checkpoint(make_encoder, task, tmp_path) -> None:
    first, again = make_encoder(2), make_encoder(2)
    fit(first, task, loss=cross_entropy, out=tmp_path, **SETTINGS)
    assert len(list((tmp_path / "checkpoints").glob("checkpoint-*"))) == 1
    steps = []
    fit(
        again,
        task,
        loss=cross_entropy,
        out=tmp_path,
        **SETTINGS,
        progress=lambda *s: steps.append(s),
    )
    assert steps == []
    for a, b in zip(first.parameters(), again.parameters(), strict=True):
        assert a.equal(b)


def test_a_half_written_checkpoint_is_passed_over(make_encoder, task, tmp_path) -> None:
    first, again = make_encoder(2), make_encoder(2)
    fit(first, task, loss=cross_entropy, out=tmp_path, **SETTINGS)
    half = tmp_path / "checkpoints" / "checkpoint-999"
    half.mkdir()
    (half / "model.safetensors").write_bytes(b"half")
    (half / "trainer_state.json").write_text('{"epoch": 1')
    fit(again, task, loss=cross_entropy, out=tmp_path, **SETTINGS)
    for a, b in zip(first.parameters(), again.parameters(), strict=True):
        assert a.equal(b)


@pytest.mark.parametrize("name", ["epochs", "learning_rate", "batch_size"])
@pytest.mark.parametrize("value", [0, -1, float("nan")])
def test_settings_must_be_positive(student, task, name, value) -> None:
    with pytest.raises(UsageError, match="above 0"):
        fit(student, task, loss=cross_entropy, **(SETTINGS | {name: value}))


def test_a_batch_has_an_example_for_every_process() -> None:
    _require_examples(2, 2)
    with pytest.raises(UsageError, match="A batch of 1 cannot be shared among 2 processes"):
        _require_examples(1, 2)


def test_gradients_are_observed_before_they_are_clipped(student, task) -> None:
    norms = []

    def loss(model, batch):
        return 1000 * cross_entropy(model, batch)

    def observe() -> None:
        norms.append(float(student.head.classifier.weight.grad.norm()))

    fit(student, task, loss=loss, observe=observe, **SETTINGS)
    assert len(norms) == 12
    assert min(norms) > 1  # to which they are clipped


def test_the_random_state_outside_does_not_matter(make_encoder, task) -> None:
    models = []
    for seed in (1, 2):
        models.append(make_encoder(2))
        torch.manual_seed(seed)
        fit(models[-1], task, loss=cross_entropy, **(SETTINGS | {"epochs": 0.5}))
    for a, b in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert a.equal(b)


def test_losses_are_written_for_tensorboard_where_that_is_asked_for(
    student, task, tmp_path, monkeypatch
) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "runs"))
    fit(student, task, loss=cross_entropy, out=tmp_path / "stage", **(SETTINGS | {"epochs": 2.0}))
    found = EventAccumulator(str(tmp_path / "runs" / "stage"))
    found.Reload()
    losses = [event.value for event in found.Scalars("train/loss")]
    assert len(losses) == 2
    assert 0 < losses[-1] < 2


def test_a_training_that_diverges_stops_and_says_so(student, task) -> None:
    def loss(model, batch):
        return cross_entropy(model, batch) * float("nan")

    with pytest.raises(ModelError, match=r"diverges: at step 0 of 12 the loss is nan"):
        fit(student, task, loss=loss, **SETTINGS)


def test_several_losses_give_the_gradients_of_their_sum(make_encoder, task) -> None:
    def several(model, batch):
        yield 0.25 * cross_entropy(model, batch)
        yield 0.75 * cross_entropy(model, batch)

    models = make_encoder(2), make_encoder(2)
    for model in models:
        model.dropout.p = 0.0
        model.head.dropout.p = 0.0
    for model, loss in zip(models, (cross_entropy, several), strict=True):
        fit(model, task, loss=loss, **(SETTINGS | {"epochs": 0.25}))
    moved, apart = (
        torch.cat([(a - b).flatten() for a, b in zip(*pair, strict=True)]).detach().abs().mean()
        for pair in (
            (models[0].parameters(), make_encoder(2).parameters()),
            (models[0].parameters(), models[1].parameters()),
        )
    )
    assert apart < 0.01 * moved  # where a gradient is nearly nothing, AdamW makes much of its sign


def test_a_model_with_tied_weights_is_kept_and_goes_on(tmp_path, task) -> None:
    shape = uniform(1, 16, 2, 16, vocabulary=22, head="masked-language-model", positions=16)

    def loss(model, batch):
        return model(**inputs_of(batch)).square().mean()

    torch.manual_seed(0)
    first = Encoder(shape)
    again = copy.deepcopy(first)
    fit(first, task, loss=loss, out=tmp_path, **SETTINGS)
    fit(again, task, loss=loss, out=tmp_path, **SETTINGS)
    for a, b in zip(first.parameters(), again.parameters(), strict=True):
        assert a.equal(b)
