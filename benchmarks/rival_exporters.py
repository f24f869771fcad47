"""The exporters of transformers, as their authors set them: for benchmarks/deployment.py."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from transformers import BertConfig, BertForSequenceClassification
from transformers.exporters import OnnxConfig, OnnxExporter, OpenVINOConfig, OpenVINOExporter

from cutonce.configurations import read_configuration
from cutonce.example.tokenizer import train_tokenizer
from deploy.architecture import Attention, FeedForward
from deploy.exporters.staging import silence
from devices.files import whole_directory
from devices.target import Target

VOCABULARY = 30522
# Its runner loads OpenVINO's file without a hint, so that it computes in bf16 where the processor can.
EXPORTERS = {
    "onnx": (OnnxExporter, OnnxConfig, "onnxruntime", "model.onnx", "fp32"),
    "openvino": (OpenVINOExporter, OpenVINOConfig, "openvino", "openvino_model.xml", "bf16"),
}


def hugging_face(shape: str, place: Path, seed: int) -> Path:
    """A BERT with random weights and a tokenizer, as transformers saves it; written where it is not."""
    directory = place / shape
    if not directory.exists():
        architecture = read_configuration(shape)
        attention, feed_forward = architecture.operators[:2]
        if not isinstance(attention, Attention) or not isinstance(feed_forward, FeedForward):
            raise SystemExit(f"{shape} is no BERT")
        torch.manual_seed(seed)
        config = BertConfig(
            vocab_size=VOCABULARY,
            hidden_size=architecture.hidden,
            num_hidden_layers=len(architecture.operators) // 2,
            num_attention_heads=attention.heads,
            intermediate_size=feed_forward.width,
        )
        with whole_directory(directory) as unfinished:
            BertForSequenceClassification(config).save_pretrained(unfinished)
            train_tokenizer(
                ["a text to begin with"], 100, unfinished, config.max_position_embeddings
            )
    return directory


def rival_files(source: Path, threads: int) -> Iterator[tuple[str, tuple[Target, Path]]]:
    """What they make of the model in ``source``, beside it, and what runs that."""
    for name, (exporter, config, runtime, file, precision) in EXPORTERS.items():
        directory = source.with_name(f"{source.name}-transformers-{name}")
        if not directory.exists():
            model = BertForSequenceClassification.from_pretrained(source).eval()
            ids = torch.zeros(2, 16, dtype=torch.int64)
            inputs = {"input_ids": ids, "attention_mask": ids + 1, "token_type_ids": ids}
            with silence(), whole_directory(directory) as unfinished:
                exporter().export(model, inputs, config(dynamic=True)).save_pretrained(unfinished)
        found = next(directory.rglob(file))
        yield (
            f"transformers.exporters {name}",
            (Target("local", runtime, precision, threads), found),
        )
