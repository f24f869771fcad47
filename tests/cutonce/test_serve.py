"""`cutonce serve` as a real process, asked by a client of other hands; `cutonce publish`."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import cutonce
from cutonce.cli import main
from cutonce.commands.serve import _listening
from deploy.artifact import Artifact
from devices.errors import UsageError

http = pytest.importorskip("tritonclient.http")
pytest.importorskip("uvicorn")


@pytest.fixture(scope="module")
def artifact(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("artifacts")
    made = cutonce.export(
        model, target="local/onnxruntime/fp32@1", length=16, unproved=True, out=place / "small",
    )  # fmt: skip
    return Path(made["artifact"])


@pytest.fixture(scope="module")
def address(artifact: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a server that was started for the tests, and is interrupted at their end."""
    out = tmp_path_factory.mktemp("server") / "server.json"
    command = [sys.executable, "-m", "cutonce.cli", "serve", str(artifact), "--port", "0"]
    command += ["--out", str(out)]
    # A shell that starts the tests in the background has interrupts ignored, and children inherit that.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        signal.signal(signal.SIGINT, before)
        assert server.stderr is not None
        line = next(line for line in server.stderr if line.startswith("http"))
        said = json.loads(out.read_text())
        assert said["models"] == ["small"]
        assert line.strip() == f"{said['address']}/v2/models/small"
        yield said["address"].removeprefix("http://")
        server.send_signal(signal.SIGINT)
        assert server.wait(30) == 130


def test_a_client_of_other_hands_is_answered(address: str, artifact: Path) -> None:
    client = http.InferenceServerClient(address)
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("small")
    assert client.get_server_metadata()["name"] == "cutonce"
    assert client.get_model_metadata("small", "1")["outputs"][0]["shape"] == [-1, 2]
    ids = np.array([[2, 5, 6, 3], [2, 7, 3, 0]], dtype=np.int64)
    mask = (ids > 0).astype(np.int64)
    inputs = []
    for name, array in (("input_ids", ids), ("attention_mask", mask)):
        inputs.append(http.InferInput(name, list(array.shape), "INT64"))
        inputs[-1].set_data_from_numpy(array, binary_data=False)
    outputs = [http.InferRequestedOutput("logits", binary_data=False)]
    answer = client.infer("small", inputs, outputs=outputs).as_numpy("logits")
    import torch

    encoder = Artifact.open(artifact).encoder()
    with torch.inference_mode():
        wanted = encoder(torch.from_numpy(ids), torch.from_numpy(mask)).numpy()
    assert np.allclose(answer, wanted, atol=1e-4)
    with pytest.raises(Exception, match="There is no model 'large'"):
        client.get_model_metadata("large")


def test_no_answer_waits_for_an_acknowledgement() -> None:
    with _listening("127.0.0.1", 0) as listener, socket.socket() as client:
        client.connect(listener.getsockname())
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_port_that_is_taken(artifact: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["serve", str(artifact), "--port", str(port)]) == 2
    assert f"Nothing can listen at 127.0.0.1:{port}" in capsys.readouterr().err
    assert main(["serve", str(artifact), "--port", "65536"]) == 2
    assert "must be 0 to 65535" in capsys.readouterr().err
    assert main(["serve", str(artifact), str(artifact)]) == 2
    assert "Two artifacts are called 'small'" in capsys.readouterr().err


def test_publish_lays_out_a_repository(
    artifact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["publish", str(artifact), "--to", f"triton:{tmp_path / 'models'}", "--json"]) == 0
    place = Path(json.loads(capsys.readouterr().out)["published"])
    assert place == tmp_path / "models" / "small"
    assert (place / "1" / "model.onnx").is_file()
    named = cutonce.publish(artifact, f"triton:{tmp_path / 'models'}", name="sentiment")
    assert Path(named["published"]).name == "sentiment"


@pytest.mark.parametrize(
    ("to", "name", "said"),
    [
        ("tritn:models", None, "Did you mean 'triton'"),
        ("triton", None, "says not where"),
        ("triton:models", "../up", "is no name of a model"),
        ("triton:models", 'a"b', "is no name of a model"),
        ("ovms:models", None, "exported for openvino"),
        ("hub:me/small", "other", "--name is of a model on a server"),
    ],
)
def test_destinations_that_cannot_be(artifact: Path, to: str, name: str | None, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        cutonce.publish(artifact, to, name=name)
