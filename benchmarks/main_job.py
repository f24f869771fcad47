"""The main job on real input: SST-2, two budgets on each of two runtimes.

    python benchmarks/main_job.py --data DIR [--out DIR] [--quick] [--json FILE]

DIR (or CUTONCE_DATA) holds glue/SST-2/{train,dev}.tsv and vocab_bert_uncased/. A dense 6-layer
hidden-256 BERT is trained from scratch by `cutonce train`, cut by `cutonce search` to 0.7 and 0.5 of its
own latency on onnxruntime and OpenVINO, exported and verified; every step is the public command.
Prints PASS or MISS per target:

- every budget is met by the exported artifact, measured again by `cutonce verify` beside the dense model;
- every sub-network is within 3 points of the dense model's accuracy on the official dev set.

Interrupted, the same call with the same --out goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import sys
from pathlib import Path

from common import machine

import cutonce

RUNTIMES = ("onnxruntime", "openvino")
FRACTIONS = (0.7, 0.5)
POINTS = 0.03


def main() -> int:
    args = parse()
    data = args.data / "glue" / "SST-2"
    columns = {
        "data": data / "train.tsv", "evaluation": data / "dev.tsv", "text": "sentence", "label": "label",
        "max_length": 64,
    }  # fmt: skip
    seed = kept_seed(args.out, args.seed)
    print(machine())
    print(f"data: {data} (official splits); seed drawn at run time: {seed}")
    dense = args.out / "dense"
    if not dense.exists():
        cutonce.train(
            "L2-H128-A2-F512" if args.quick else "L6-H256-A4-F1024",
            recipe="dense", tokenizer=args.data / "vocab_bert_uncased", **columns,
            epochs=1.0 if args.quick else 3.0, learning_rate=3e-4, out=dense, seed=seed,
        )  # fmt: skip
    store = args.out / "measurements.sqlite"
    budgets = [f"local/{runtime}/fp32={share}x" for runtime in RUNTIMES for share in FRACTIONS]
    found = cutonce.search(
        dense, budgets=budgets, **columns, length=64, epochs=0.2 if args.quick else 1.0,
        store=store, out=args.out / "run", seed=seed,
    )  # fmt: skip
    artifacts = [args.out / "run" / "artifacts" / entry["name"] for entry in found["budgets"]]
    for entry, artifact in zip(found["budgets"], artifacts, strict=True):
        if not artifact.exists():
            cutonce.export(args.out / "run" / entry["subnet"], store=store, seed=seed)
    checked = cutonce.verify(artifacts, visits=21, store=store, seed=seed)
    cutonce.report(args.out / "run")
    result = judge(found, checked)
    if args.json:
        args.json.write_text(json.dumps({"seed": seed, "rows": result}, indent=1))
    return 0 if all(row["budget"] == "PASS" and row["accuracy"] == "PASS" for row in result) else 3


def kept_seed(out: Path, asked: int | None) -> int:
    """Drawn once per ``out``, so that an interrupted run goes on with its own."""
    path = out / "seed"
    if not path.exists():
        out.mkdir(parents=True, exist_ok=True)
        path.write_text(str(secrets.randbelow(2**16) if asked is None else asked))
    return int(path.read_text())


def judge(found: dict, checked: dict) -> list[dict]:
    dense = found["dense"]["metrics"]["report"]["accuracy"]
    rows = []
    print(f"dense: {found['dense']['parameters']:,} parameters, accuracy {dense:.4f}")
    for entry, row in zip(found["budgets"], checked["artifacts"], strict=True):
        accuracy, numbers = row["metrics"]["accuracy"], row["measured"]
        result = {
            "target": entry["target"],
            "limit_ms": row["limits"][0]["limit"],
            "predicted_ms": entry["predicted"],
            "measured_ms": numbers,
            "dense_ms": row["dense"],
            "speedup": row["speedup"],
            "accuracy_dense": dense,
            "accuracy_cut": accuracy,
            "chain": entry["chain"],
            "budget": "PASS" if row["budget_met"] else "MISS",
            "accuracy": "PASS" if accuracy >= dense - POINTS else "MISS",
        }
        rows.append(result)
        print(
            f"{entry['target']}: limit {result['limit_ms']:.3f} ms, "
            f"predicted {entry['predicted']['ms']:.3f} ["
            f"{entry['predicted']['lower']:.3f}, {entry['predicted']['upper']:.3f}], "
            f"intrinsic {numbers['intrinsic']:.3f} p50 {numbers['p50']:.3f} p90 {numbers['p90']:.3f}, "
            f"speed-up {result['speedup']:.2f}x {result['budget']}; "
            f"accuracy {accuracy:.4f} {result['accuracy']}"
        )
        print(f"    {' '.join(entry['chain'])}")
    return rows


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    given = os.environ.get("CUTONCE_DATA")
    parser.add_argument("--data", type=Path, default=Path(given) if given else None)
    parser.add_argument("--out", type=Path, default=Path("cutonce-sst2"))
    parser.add_argument("--quick", action="store_true", help="a tiny model, for a look")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if args.data is None:
        parser.error("give --data DIR or set CUTONCE_DATA")
    return args


if __name__ == "__main__":
    sys.exit(main())
