"""Inputs from outside are looked at first: a runtime may read whatever lies behind its tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from deploy.architecture import Architecture
from devices.errors import UsageError
from devices.runtimes import Arrays


def checked(architecture: Architecture, given: Mapping[str, np.ndarray[Any, Any]]) -> Arrays:
    """``given`` int64 [batch, sequence] by name, with a mask of ones and types of zeros where none are.

    Raises:
        UsageError: a name, shape or value that the encoder does not take.
    """
    limits = {
        "input_ids": architecture.vocabulary,
        "attention_mask": 2,
        "token_type_ids": max(2, architecture.token_types),
    }
    if "input_ids" not in given or not set(given) <= set(limits):
        raise UsageError(
            f"The inputs are {sorted(given)}; expected input_ids and, if need be, attention_mask and "
            "token_type_ids."
        )
    ids = given["input_ids"]
    if ids.ndim != 2 or not len(ids) or not 0 < ids.shape[1] <= architecture.positions:
        raise UsageError(
            f"input_ids has shape {list(ids.shape)}; expected [batch, sequence] with 1 to "
            f"{architecture.positions} tokens: cut longer texts (truncation=True with a tokenizer)."
        )
    for name, array in given.items():
        if array.shape != ids.shape:
            raise UsageError(
                f"{name} has shape {list(array.shape)}; expected that of input_ids, {list(ids.shape)}."
            )
        if array.min() < 0 or array.max() >= limits[name]:
            raise UsageError(
                f"{name} holds {array.min()} to {array.max()}; expected 0 to {limits[name] - 1}."
            )
    whole = {"attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    return whole | dict(given)
