"""What is particular to one format; what all exporters share is in tests/contracts."""

from __future__ import annotations

import importlib.util
import json
import logging
import subprocess
import sys
import warnings
from pathlib import Path

import onnx
import pytest

from deploy.architecture import Architecture, Attention, uniform
from deploy.costs import costs, parameters
from deploy.encoder import Encoder
from deploy.exporters import export_variant
from deploy.exporters.staging import silence, staged
from deploy.exporters.to_fake import cost_list
from deploy.workload import Workload
from devices.errors import MissingDependency, UnknownName, UsageError

openvino = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="openvino is not installed"
)


def test_onnx_graph(root: Path) -> None:
    model = onnx.load(root / "onnx" / "model.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 20)]
    shapes = {
        value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    for name in ("input_ids", "attention_mask", "token_type_ids"):
        assert shapes[name] == ["batch", "sequence"]
    assert shapes["logits"] == ["batch", 2]
    weights = {weight.name for weight in model.graph.initializer}
    assert not weights & {value.name for value in model.graph.value_info}


def test_a_graph_beside_its_weights_stores_none_of_them_again(root: Path, encoder: Encoder) -> None:
    exported = export_variant(encoder, "onnxruntime", "fp32", root)
    graph, weights = exported.files
    onnx.checker.check_model(graph, full_check=True)
    assert sum(weight.nbytes >= 1024 for weight in encoder.state_dict().values()) >= 8
    model = onnx.load(graph, load_external_data=False)
    own = [weight for weight in model.graph.initializer if not weight.external_data]
    assert all(weight.ByteSize() < 1100 for weight in own)
    encoder.save_pretrained(root / "canonical")
    assert weights.read_bytes() == (root / "canonical" / "model.safetensors").read_bytes()


def test_int8_quantises_the_weight_products_alone(root: Path, encoder: Encoder) -> None:
    exported = export_variant(encoder, "onnxruntime", "int8", root)
    kinds = [node.op_type for node in onnx.load(exported.path).graph.node]
    assert kinds.count("MatMulInteger") == 2 * 4 + 2 + 2  # two attentions, one feed-forward, head
    assert kinds.count("MatMul") == 2 * 2  # the score products, which have no weights
    assert exported.path.stat().st_size < (root / "onnx" / "model.onnx").stat().st_size


def test_static_int8_needs_calibration(root: Path, encoder: Encoder) -> None:
    with pytest.raises(UsageError, match=r"int8-static needs calibration.*--data"):
        export_variant(encoder, "onnxruntime", "int8-static", root)


@openvino
def test_openvino_int8_needs_calibration_and_nncf(
    root: Path, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="calibration"):
        export_variant(encoder, "openvino", "int8", root)
    monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(MissingDependency, match=r'nncf.*pip install "cutonce\[openvino\]"'):
        export_variant(encoder, "openvino", "int8", root, [{}])
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingDependency, match="needs openvino"):
        export_variant(encoder, "openvino", "fp32", root)


@openvino
def test_nothing_is_reported_over_the_network() -> None:
    code = "from deploy.exporters.to_openvino import _vendor as v; v('openvino'); v('nncf')"
    check = "import sys; sys.exit(sys.modules.get('openvino_telemetry', 0) is not None)"
    subprocess.run([sys.executable, "-c", f"{code}; {check}"], check=True)


def test_unknown_runtime(encoder: Encoder, tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="Did you mean 'onnxruntime'"):
        export_variant(encoder, "onxruntime", "fp32", tmp_path)


def test_cost_list_prices_what_costs_prices(small: Architecture) -> None:
    listed = cost_list(small, "int8")
    assert json.loads(json.dumps(listed)) == listed
    assert (listed["schema"], listed["precision"]) == (1, "int8")
    work = Workload(batch=3, length=11)
    kinds = [entry["kind"] for entry in listed["operators"]]
    assert kinds == ["embedding", "attention", "attention", "feed_forward", "head"]
    for entry, cost in zip(listed["operators"], costs(small, work), strict=True):
        rows = work.batch if entry["kind"] == "head" else work.tokens
        linear = rows * sum(k * n * count for k, n, count in entry["linear"])
        scores = 2 * entry["heads"] * entry["head_dim"] * work.length**2 * work.batch
        assert linear + scores == cost.macs
        assert rows * entry["activations_per_token"] == cost.activations
        if entry["kind"] != "embedding":
            assert entry["weights"] == cost.weights


def test_staged_files_appear_together_or_not_at_all(tmp_path: Path) -> None:
    files = [tmp_path / "new" / "a", tmp_path / "new" / "b"]

    def stop_half_way() -> None:
        with staged(files) as places:
            places[0].write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop_half_way()
    assert list((tmp_path / "new").iterdir()) == []
    with staged(files) as places:
        for place in places:
            place.write_text(place.name)
    assert [file.read_text() for file in files] == ["a", "b"]
    assert sorted(file.name for file in (tmp_path / "new").iterdir()) == ["a", "b"]


def test_silence_swallows_talk_but_not_errors(capfd: pytest.CaptureFixture[str]) -> None:
    disabled = logging.root.manager.disable

    def vendor() -> None:
        print("talk")
        print("talk", file=sys.stderr)
        logging.getLogger("vendor").critical("talk")
        warnings.warn("talk", stacklevel=1)
        raise ValueError("heard")

    with silence(), pytest.raises(ValueError, match="heard"):
        vendor()
    assert capfd.readouterr() == ("", "")
    assert logging.root.manager.disable == disabled


def test_the_architecture_decides_the_parameters() -> None:
    a = uniform(1, 32, 4, 64, vocabulary=50, positions=16, labels=3)
    pruned = a.with_operators([Attention(1, 8), None])
    for architecture in (a, pruned):
        built = Encoder(architecture)
        assert sum(p.numel() for p in built.parameters()) == parameters(architecture)
