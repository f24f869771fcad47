"""Sub-networks of what a recipe trained, cut to be so many times as fast as the dense model."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from recipe_trainings import EPOCHS, TARGET, Trainings, score

import cutonce
from deploy.architecture import Architecture
from deploy.costs import macs
from deploy.export_pool import ExportPool, ExportRequest
from devices.target import Target
from elastic.families import load
from elastic.recipes.rosita import Shape
from profiler.campaign import APART, STARTS, run_campaign
from profiler.job import Job
from profiler.store import Store

SPEEDUPS = (1.5, 2.0, 4.0)
OURS, SINGLE = "cutonce", ("rosita", "nas-bert")  # these end in one model
TAUGHT = 1 / 3 + sum(1 / speedup for speedup in SPEEDUPS)  # epochs: the dense model is asked once
QUANTIZED, MORE = Target.parse("local/openvino/int8"), 8.0  # times the dense model's speed in fp32
THIRD, ITS = Target.parse("local/torch/fp32"), 2.0


class Cuts:
    """Of one task and seed; a row of its scores and speeds per speed-up."""

    def __init__(self, trainings: Trainings) -> None:
        self._all, self._place = trainings, trainings.place
        self._length = trainings.workload.length
        self._shapes = trainings.place.parent / "shapes" / "measurements.sqlite"

    def of(self, recipe: str) -> list[dict[str, Any]]:
        """Trains it first."""
        return list(self._single(recipe) if recipe in SINGLE else self._supernet(recipe))

    @cached_property
    def _dense(self) -> Architecture:
        return load(self._all.model).encoder.architecture

    def _supernet(self, recipe: str) -> Iterator[dict[str, Any]]:
        """One training for all speed-ups, of ours less what its sub-networks are taught then."""
        later = TAUGHT if recipe == OURS else 0.0
        trained = self._all.equally_trained(recipe, recipe, recipe, 1 - later / EPOCHS, {})
        trained["passes"] += later * self._all.dense()["examples"]
        asked = [(TARGET, speedup, 1.0) for speedup in SPEEDUPS]
        if recipe == OURS:
            asked += [(QUANTIZED, MORE, self._faster()), (THIRD, ITS, 1.0)]
        budgets = [f"{target}={faster / speedup:.4f}x" for target, speedup, faster in asked]
        found = self._all.kept(
            f"search-{recipe}",
            lambda: cutonce.search(
                self._place / recipe, budgets=budgets, **self._all.described, post_training=True,
                length=self._length, store=self._all.store, seed=self._all.seed,
                out=self._place / f"search-{recipe}",
            ),
        )  # fmt: skip
        reached = {entry["budget"]: entry for entry in found["budgets"]}
        for (target, speedup, faster), budget in zip(asked, budgets, strict=True):
            entry = reached.get(budget)
            if entry is None:  # the least that fits is slower
                yield row(target, speedup, math.nan, math.nan, trained)
                continue
            metrics, more = entry["metrics"]["report"], {}
            if target == QUANTIZED:
                taken = self._all.kept("export", lambda entry=entry: self._exported(recipe, entry))
                metrics = taken["metrics"]
            elif target == TARGET and recipe == OURS:
                more = {"untaught": score(metrics)}
                metrics = self._all.distilled(self._place / f"search-{recipe}" / entry["subnet"])
            yield row(target, speedup, score(metrics), entry["speedup"] * faster, trained) | more

    def _faster(self) -> float:
        """Times as fast as in fp32 the dense model is in int8."""
        targets = [str(TARGET), str(QUANTIZED)]
        found = self._all.kept(
            "int8",
            lambda: cutonce.measure(
                self._all.model, targets, length=self._length, store=self._all.store,
                seed=self._all.seed,
            ),
        )  # fmt: skip
        plain, quantized = (one["statistics"]["intrinsic"] for one in found["measurements"])
        return float(plain / quantized)

    def _exported(self, recipe: str, entry: dict[str, Any]) -> dict[str, Any]:
        """What the file of a sub-network answers."""
        subnet = self._place / f"search-{recipe}" / entry["subnet"]
        found: dict[str, Any] = cutonce.export(
            subnet, store=self._all.store, visits=9, seed=self._all.seed
        )
        return found

    def _single(self, recipe: str) -> Iterator[dict[str, Any]]:
        """One training for each speed-up."""
        names = {speedup: f"{recipe}-{speedup:g}" for speedup in SPEEDUPS}
        trained = {}
        for speedup, name in names.items():
            own = self._settings(recipe, speedup)
            if recipe == "nas-bert":
                found = self._all.equally_trained(recipe, name, recipe, 1.0, own, self._of_all)
            else:
                found = self._all.equally_trained(recipe, name, name, 1 / len(SPEEDUPS), own)
            trained[speedup] = found
        taken = self._all.kept(f"measured-{recipe}", lambda: self._measured(list(names.values())))
        for speedup, ratio in zip(SPEEDUPS, taken["speedups"], strict=True):
            found = trained[speedup]
            yield row(TARGET, speedup, score(found["metrics"]["report"]), ratio, found)

    def _settings(self, recipe: str, speedup: float) -> dict[str, Any]:
        """Of `cutonce train`."""
        if recipe == "rosita":
            return {"settings": {"shape": self._shape(speedup)}}
        self._shapes.parent.mkdir(exist_ok=True)
        self._all.kept("shapes", lambda: self._all.profiled(self._shapes), self._shapes.parent)
        return {
            "settings": {"share": self._share(speedup)}, "target": str(TARGET),
            "length": self._length, "store": self._shapes,
        }  # fmt: skip

    def _share(self, speedup: float) -> float:
        """Of the sub-layers' latency, where that of the rest stays as it is."""
        whole = self._whole()
        dense, bare = self._predicted([whole, replace(whole, layers=0)], self._shapes)
        return max(0.02, (dense / speedup - bare) / (dense - bare))

    def _of_all(self, trained: dict[str, Any], epochs: float) -> float:
        """Passes of NAS-BERT's trainings for all speed-ups, by the one for the first: blocks, the same
        for all, count once, and the network that is trained in the end costs what its share says."""
        architecture = Architecture.from_json(trained["architecture"])
        size = macs(architecture, self._all.workload) / macs(self._dense, self._all.workload)
        network = epochs * trained["task"]["sizes"]["train"] * size
        shares = [self._share(speedup) for speedup in SPEEDUPS]
        return float(trained["passes"] + network * sum(shares[1:]) / shares[0])

    def _shape(self, speedup: float) -> str:
        """Two thirds of the layers, as the paper has it, and the most heads and neurons that fit, alike;
        fewer layers only where nothing else does. The table's rank is a sixth."""
        whole = self._whole()
        layers, widths = range(2 * whole.layers // 3, 0, -1), range(whole.heads, 0, -1)
        part = whole.width // whole.heads
        tried = [Shape(la, n, part * n, 0) for la in layers for n in widths]
        dense, *found = self._predicted([whole, *tried], self._all.store)
        fitting = (shape for shape, ms in zip(tried, found, strict=True) if ms <= dense / speedup)
        chosen = next(fitting)
        return f"L{chosen.layers}-A{chosen.heads}-F{chosen.width}-E{self._dense.hidden // 6}"

    def _whole(self) -> Shape:
        return replace(Shape.of(self._dense), rank=0)

    def _predicted(self, shapes: list[Shape], store: Path) -> list[float]:
        """Milliseconds, by the profile in that store."""
        files = []
        for shape in shapes:
            file = self._place / "shapes" / f"L{shape.layers}-A{shape.heads}-F{shape.width}.json"
            file.parent.mkdir(exist_ok=True)
            chain = shape.chain(self._dense)
            file.write_text(json.dumps(self._dense.with_operators(chain).to_json()))
            files.append(str(file))
        found = cutonce.predict(str(TARGET), files, length=self._length, store=store)
        return [entry["ms"] for entry in found["predictions"]]

    def _measured(self, names: list[str]) -> dict[str, list[float]]:
        """How many times as fast as the dense model each is, all in one campaign."""
        encoders = [load(self._place / name).encoder for name in ("dense", *names)]
        with TemporaryDirectory() as root, Store(self._all.store) as store:
            places = [Path(root) / name for name in ("dense", *names)]
            for encoder, place in zip(encoders, places, strict=True):
                encoder.save_pretrained(place / "encoder")
            with ExportPool() as pool:
                files = pool.export(
                    [
                        ExportRequest(place / "encoder", TARGET.runtime, TARGET.precision, place)
                        for place in places
                    ]
                )
            jobs = [
                Job(TARGET, encoder.architecture, self._all.workload, some.path, some is files[0])
                for encoder, some in zip(encoders, files, strict=True)
            ]
            measured = run_campaign(
                jobs, store=store, campaign=f"recipes/{self._place}/{names[0]}",
                seed=self._all.seed, starts=STARTS, apart=APART, progress=lambda *_: None,
            )  # fmt: skip
        dense, *rest = [some.statistics.intrinsic for some in measured]
        return {"speedups": [dense / ms for ms in rest]}


def row(
    target: Target, asked: float, reached: float, speedup: float, trained: dict[str, Any]
) -> dict[str, Any]:
    return {
        "target": str(target), "asked": asked, "score": reached, "speedup": speedup,
        "passes": trained["passes"], "seconds": trained["took"],
    }  # fmt: skip
