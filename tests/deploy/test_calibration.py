from __future__ import annotations

from deploy.calibration import calibration_hash, random_batches


def test_batches_fit_the_vocabulary_and_the_length() -> None:
    batches = random_batches(vocabulary=7, length=9, count=50, token_types=1)
    assert len(batches) == 50
    assert {batch["input_ids"].shape[0] for batch in batches} == {1}
    assert {batch["input_ids"].shape[1] for batch in batches} == set(range(1, 10))
    assert max(batch["input_ids"].max() for batch in batches) == 6
    assert max(batch["token_type_ids"].max() for batch in batches) == 0


def test_hash_names_content() -> None:
    first, same, other = (random_batches(50, 8, seed=seed) for seed in (1, 1, 2))
    assert calibration_hash(first) == calibration_hash(same)
    assert calibration_hash(first) != calibration_hash(other)
    assert calibration_hash(first) != calibration_hash(first[::-1])
