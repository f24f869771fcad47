"""One file per command: its Python function, its flags, and how its result is shown."""

from __future__ import annotations

from collections.abc import Mapping

SUMMARIES: Mapping[str, str] = {
    "devices": "what can run here, and what is missing",
    "fleet": "start a fleet of devices and workers over SSH",
    "measure": "how fast is a model on a target",
    "compare": "set two results of measure side by side: a ratio with its interval",
    "profile": "profile a target: measure chosen encoders, fit its latency predictor",
    "predict": "milliseconds of any configuration on a profiled target, with an interval",
    "pretrain": "a small language model of one's own from text files",
    "train": "fine-tune a dense model, make it elastic, or distil a sub-network",
    "search": "cut a model to one or more latency budgets",
    "export": "turn a sub-network into an artifact that carries its own proof",
    "verify": "check an artifact: hashes, parity, task metric, latency against its budget",
    "serve": "answer requests with artifacts, by the Open Inference Protocol",
    "publish": "put an artifact into a model server's repository, or on the hub",
    "report": "a self-contained web page of a search run",
    "store": "what was measured: show it, merge another store, export to Parquet",
    "demo": "all of it, small and offline, on this machine",
}
