"""Artifacts behind the Open Inference Protocol, and in the repositories of model servers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deploy.artifact import Artifact, write_artifact
from deploy.encoder import Encoder
from deploy.exporters import export_variant
from deploy.serving.openvino_model_server import write_openvino_model_server
from deploy.serving.triton import write_triton
from deploy.workload import Workload
from devices.errors import ArtifactChanged, DataError, UsageError
from devices.target import Target

fastapi = pytest.importorskip("fastapi")

IDS = [[2, 5, 6, 3], [2, 7, 3, 0]]
MASK = [[1, 1, 1, 1], [1, 1, 1, 0]]
Make = Callable[..., Artifact]


@pytest.fixture
def make(root: Path, encoder: Encoder, tokenizer: Path, tmp_path: Path) -> Make:
    def make(runtime: str = "onnxruntime", threads: int = 1, streams: int = 2) -> Artifact:
        return write_artifact(
            tmp_path / "artifacts" / f"small-{runtime}",
            encoder=encoder,
            target=Target("local", runtime, "fp32", threads, streams),
            exported=export_variant(encoder, runtime, "fp32", root),
            tokenizer=tokenizer,
            workload=Workload(1, 16),
            reports={},
            source="models/dense",
            max_length=8,
        )

    return make


@pytest.fixture
def client(make: Make) -> Any:
    from fastapi.testclient import TestClient

    from deploy.serving.application import application
    from deploy.serving.served import Served

    return TestClient(application({"small": Served(make())}))


def tensor(name: str, data: list[Any], **changes: Any) -> dict[str, Any]:
    shape = changes.pop("shape", None) or list(np.shape(data))
    return {"name": name, "shape": shape, "datatype": "INT64", "data": data, **changes}


def test_health_and_metadata(client: Any) -> None:
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True}
    assert client.get("/v2").json()["name"] == "cutonce"
    assert client.get("/v2/models/small/ready").json() == {"name": "small", "ready": True}
    found = client.get("/v2/models/small/versions/1").json()
    assert found == client.get("/v2/models/small").json()
    assert found["platform"] == "onnxruntime_fp32"
    names = ["input_ids", "attention_mask", "token_type_ids"]
    assert [entry["name"] for entry in found["inputs"]] == names
    assert found["outputs"] == [{"name": "logits", "datatype": "FP32", "shape": [-1, 2]}]


def test_answers_as_the_encoder(client: Any, encoder: Encoder) -> None:
    inputs = [tensor("input_ids", IDS), tensor("attention_mask", MASK)]
    found = client.post("/v2/models/small/infer", json={"id": "a", "inputs": inputs}).json()
    assert (found["id"], found["model_name"], found["model_version"]) == ("a", "small", "1")
    [output] = found["outputs"]
    assert (output["datatype"], output["shape"]) == ("FP32", [2, 2])
    with torch.inference_mode():
        wanted = encoder(torch.tensor(IDS), torch.tensor(MASK)).numpy()
    assert np.allclose(np.reshape(output["data"], (2, 2)), wanted, atol=1e-4)
    flat = [tensor("input_ids", [*IDS[0], *IDS[1]], shape=[2, 4]), inputs[1]]
    again = client.post("/v2/models/small/versions/1/infer", json={"inputs": flat}).json()
    assert again["outputs"] == found["outputs"]


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ([], "expected input_ids"),
        ([tensor("ids", IDS)], "expected input_ids"),
        ([tensor("input_ids", IDS, datatype="FP32")], "expected INT64"),
        ([tensor("input_ids", IDS, shape=[3, 3])], "shape [3, 3]"),
        ([tensor("input_ids", [[1.5, 2]])], "float64"),
        ([tensor("input_ids", [["a"]])], "no array of integers"),
        ([tensor("input_ids", [[1, 2], [3]], shape=[2, 2])], "no array of integers"),
        ([tensor("input_ids", [1, 2])], "expected [batch, sequence]"),
        ([tensor("input_ids", [[0] * 33])], "1 to 32 tokens"),
        ([tensor("input_ids", [[24]])], "expected 0 to 23"),
        ([tensor("input_ids", [[-1]])], "expected 0 to 23"),
        ([tensor("input_ids", IDS), tensor("attention_mask", [[1]])], "expected that of input_ids"),
        ([tensor("input_ids", [[1]]), tensor("token_type_ids", [[2]])], "expected 0 to 1"),
        ([{"name": "input_ids"}], "body.inputs.0.shape"),
    ],
)
def test_inputs_that_are_not_the_models(client: Any, inputs: list[Any], said: str) -> None:
    answer = client.post("/v2/models/small/infer", json={"inputs": inputs})
    assert answer.status_code == 400
    assert said in answer.json()["error"]


def test_a_model_that_is_not_there(client: Any) -> None:
    for path in ("/v2/models/other", "/v2/models/small/versions/2", "/v2/models/other/ready"):
        answer = client.get(path)
        assert answer.status_code == 404
        assert "there is small" in answer.json()["error"]


def test_every_error_is_one_of_the_protocol(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    from fastapi.testclient import TestClient

    from deploy.serving.application import application
    from deploy.serving.served import Served

    served = Served(make())
    client = TestClient(application({"small": served}), raise_server_exceptions=False)
    infer = "/v2/models/small/infer"
    assert client.get("/v3").json() == {"error": "Not Found"}
    assert client.get(infer).status_code == 405
    assert "error" in client.post(infer, content=b"{").json()
    binary = {"Inference-Header-Content-Length": "20"}
    answer = client.post(infer, content=b"{}\x00\xff", headers=binary)
    assert (answer.status_code, "send their data as JSON" in answer.json()["error"]) == (400, True)

    def fails(*_: Any) -> Any:
        raise KeyError("deep inside")

    monkeypatch.setattr(Served, "infer", fails)
    answer = client.post(infer, json={"inputs": [tensor("input_ids", IDS)]})
    assert (answer.status_code, answer.json()) == (500, {"error": "KeyError: 'deep inside'"})


def test_a_changed_file_is_not_served(make: Make) -> None:
    from deploy.serving.served import Served

    artifact = make()
    artifact.exported.path.write_bytes(b"another")
    with pytest.raises(ArtifactChanged, match=r"model\.onnx"):
        Served(artifact)


def test_a_repository_for_triton(make: Make, tmp_path: Path) -> None:
    service = pytest.importorskip("tritonclient.grpc.model_config_pb2")
    from google.protobuf import text_format

    artifact = make(threads=3, streams=2)
    place = write_triton(artifact, tmp_path / "models", "small")
    assert place == tmp_path / "models" / "small"
    model = place / "1" / "model.onnx"
    assert model.read_bytes() == artifact.exported.path.read_bytes()
    config = text_format.Parse((place / "config.pbtxt").read_text(), service.ModelConfig())
    assert (config.name, config.backend, config.max_batch_size) == ("small", "onnxruntime", 0)
    assert [entry.name for entry in config.input] == [
        "input_ids",
        "attention_mask",
        "token_type_ids",
    ]
    assert all(list(entry.dims) == [-1, -1] for entry in config.input)
    assert [(entry.name, list(entry.dims)) for entry in config.output] == [("logits", [-1, 2])]
    assert config.input[0].data_type == service.TYPE_INT64
    assert config.instance_group[0].count == 2
    assert config.parameters["intra_op_thread_count"].string_value == "3"
    write_triton(artifact, tmp_path / "models", "small")  # again, in its place


def test_a_repository_for_openvino_model_server(make: Make, tmp_path: Path) -> None:
    openvino = pytest.importorskip("openvino")
    artifact, models = make("openvino"), tmp_path / "models"
    models.mkdir()
    config = models / "config.json"
    other = {"config": {"name": "other", "base_path": "/models/other"}}
    config.write_text(json.dumps({"model_config_list": [other], "monitoring": {}}))
    for _ in range(2):
        place = write_openvino_model_server(artifact, models, "small")
    assert openvino.Core().read_model(place / "1" / "model.xml").inputs
    found = json.loads(config.read_text())
    assert found["monitoring"] == {}
    assert found["model_config_list"][0] == other
    [_, entry] = found["model_config_list"]
    assert entry["config"]["base_path"] == "small"  # beside config.json
    plugin = entry["config"]["plugin_config"]
    assert (plugin["NUM_STREAMS"], plugin["INFERENCE_PRECISION_HINT"]) == (2, "f32")
    config.write_text("[]")
    with pytest.raises(DataError, match=r"config\.json is not the list"):
        write_openvino_model_server(artifact, models, "small")


def test_a_server_is_given_what_it_runs(make: Make, tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match="OpenVINO Model Server runs what was exported for openvino"
    ):
        write_openvino_model_server(make(), tmp_path, "small")
    (tmp_path / "small").mkdir()
    (tmp_path / "small" / "letter.txt").write_text("mine")
    with pytest.raises(
        UsageError, match=r"small holds letter\.txt, which publish did not put there"
    ):
        write_triton(make(), tmp_path, "small")
    assert (tmp_path / "small" / "letter.txt").read_text() == "mine"
