"""Importance: what every head and neuron of a dense encoder is worth. One file per method.

In scope: scores per position, from unlabelled batches. Out of scope: what is kept of them, which
the search decides. Every method is called as ``method(encoder, batches, *, seed=0, labels=None)``, with
batches of int64 arrays [batch, sequence] and per batch the examples' classes where they are to be used,
and returns per position a float64 array ≥ 0 of [heads] or [width], or [1] of another operator.
"""

from __future__ import annotations

from devices.registry import Registry

IMPORTANCES = Registry(
    "importance",
    {
        "fisher": "elastic.importance.fisher:fisher",
        "taylor-dynabert": "elastic.importance.taylor_dynabert:taylor_dynabert",
        "taylor-rosita": "elastic.importance.taylor_rosita:taylor_rosita",
        "activation": "elastic.importance.activation:activation",
        "magnitude": "elastic.importance.magnitude:magnitude",
    },
)
