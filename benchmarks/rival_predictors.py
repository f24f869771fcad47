"""Rival latency predictors, re-derived, each as (features, milliseconds) -> prediction.

- `flops`, `affine flops`: a constant times the multiply-adds, and with an offset; least relative error.
- `forest`: nn-Meter (Zhang et al. 2021, doi 10.1145/3458864.3467882): a random forest on configuration,
  FLOPs and parameters.
- `mlp`: HAT (Wang et al. 2020, arXiv 2005.14187): three hidden layers of 400, Adam at 1e-5 on the
  squared error of scaled milliseconds, 5,000 steps of up to 128 rows.
- `boosting`: gradient-boosted trees as scikit-learn has them, on the logarithm.
- `gaussian process`: one length scale per feature and noise, on the logarithm.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from sklearn.ensemble import GradientBoostingRegressor, RandomForestRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from sklearn.preprocessing import StandardScaler

Array = np.ndarray[Any, Any]
Predict = Callable[[Array], Array]
Rival = Callable[[Array, Array], Predict]
MLP_STEPS, MLP_RATE, MLP_BATCH, MLP_WIDTH = 5000, 1e-5, 128, 400


def flops(macs: Array, ms: Array) -> Predict:
    """``macs``: [n, 1]."""
    rate = float(np.median(ms / macs[:, 0]))
    return lambda asked: rate * asked[:, 0]


def affine_flops(macs: Array, ms: Array) -> Predict:
    """``macs``: [n, 1]."""
    rows = np.column_stack([np.ones(len(ms)), macs[:, 0]])
    found, *_ = np.linalg.lstsq(rows / ms[:, None], np.ones(len(ms)), rcond=None)
    return lambda asked: found[0] + found[1] * asked[:, 0]


def forest(rows: Array, ms: Array) -> Predict:
    model = RandomForestRegressor(n_estimators=370, max_depth=50, random_state=0).fit(rows, ms)
    return lambda asked: model.predict(asked)


def boosting(rows: Array, ms: Array) -> Predict:
    model = GradientBoostingRegressor(random_state=0).fit(rows, np.log(ms))
    return lambda asked: np.exp(model.predict(asked))


def gaussian_process(rows: Array, ms: Array) -> Predict:
    scaler = StandardScaler().fit(rows)
    kernel = ConstantKernel() * RBF(np.ones(rows.shape[1])) + WhiteKernel(1e-3)
    model = GaussianProcessRegressor(kernel, normalize_y=True, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(scaler.transform(rows), np.log(ms))
    return lambda asked: np.exp(model.predict(scaler.transform(asked)))


def mlp(rows: Array, ms: Array) -> Predict:
    torch.manual_seed(0)
    scale, norm = np.maximum(np.abs(rows).max(0), 1e-12), float(ms.mean())
    inputs = torch.from_numpy(rows / scale).float()
    targets = torch.from_numpy(ms / norm).float()
    widths = [rows.shape[1], *[MLP_WIDTH] * 3]
    layers: list[torch.nn.Module] = []
    for one, other in itertools.pairwise(widths):
        layers += [torch.nn.Linear(one, other), torch.nn.ReLU()]
    model = torch.nn.Sequential(*layers, torch.nn.Linear(MLP_WIDTH, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=MLP_RATE)
    for _ in range(MLP_STEPS):
        some = torch.randint(len(ms), (min(MLP_BATCH, len(ms)),))
        loss = torch.nn.functional.mse_loss(model(inputs[some])[:, 0], targets[some])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    def predict(asked: Array) -> Array:
        with torch.inference_mode():
            found: Array = model(torch.from_numpy(asked / scale).float())[:, 0].numpy()
        return norm * found.astype(float)

    return predict


RIVALS: Mapping[str, Rival] = {
    "forest": forest,
    "mlp": mlp,
    "boosting": boosting,
    "gaussian process": gaussian_process,
}
"""Those that take any features."""
