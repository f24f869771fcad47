"""Of an ``.ort`` file: the part that onnxruntime writes in the order of a hash table, sorted.

A file in this format holds the graph, and which types the kernels of its operators go by. The second
comes in another order from another process; everything else is the same for the same graph.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any

IDENTIFIER = b"ORTM"
ALIGNED = 16  # bytes; the most that anything in a graph needs


def in_order(data: bytes) -> bytes:
    """The same file with its kernels sorted by name.

    A flatbuffer is written from its end: what was first, the graph, is kept as it lies, and the rest is
    written before it anew. The offset of anything is counted from the end.
    """
    import flatbuffers
    from onnxruntime.tools.ort_format_model.ort_flatbuffers_py.fbs import (
        InferenceSession as session,
    )

    root = session.InferenceSession.GetRootAs(data)
    graph = root.Model()._tab.Pos
    fields = graph - struct.unpack_from("<i", data, graph)[0]  # where the table's layout is told
    kept = data[min(graph, fields) :]
    builder = flatbuffers.Builder(len(data))
    builder.minalign = ALIGNED  # of the file's length, so that what is kept stays aligned
    builder.head = len(builder.Bytes) - len(kept)
    builder.Bytes[builder.head :] = kept
    kernels = _kernels(builder, root.KernelTypeStrResolver())
    version = builder.CreateString(root.OrtVersion())
    session.Start(builder)
    session.AddOrtVersion(builder, version)
    session.AddModel(builder, len(data) - graph)
    session.AddKernelTypeStrResolver(builder, kernels)
    builder.Finish(session.End(builder), IDENTIFIER)
    return bytes(builder.Output())


def _kernels(builder: Any, resolver: Any) -> int:
    from onnxruntime.tools.ort_format_model.ort_flatbuffers_py.fbs import (
        KernelTypeStrResolver as table,
    )

    every = [resolver.OpKernelTypeStrArgs(k) for k in range(resolver.OpKernelTypeStrArgsLength())]
    written = [_operator(builder, one) for one in sorted(every, key=lambda one: one.OpId())]
    vector = _vector(builder, table.StartOpKernelTypeStrArgsVector, written)
    table.Start(builder)
    table.AddOpKernelTypeStrArgs(builder, vector)
    return int(table.End(builder))


def _operator(builder: Any, operator: Any) -> int:
    from onnxruntime.tools.ort_format_model.ort_flatbuffers_py.fbs import (
        OpIdKernelTypeStrArgsEntry as table,
    )

    every = [operator.KernelTypeStrArgs(k) for k in range(operator.KernelTypeStrArgsLength())]
    written = [_type(builder, one) for one in sorted(every, key=lambda one: one.KernelTypeStr())]
    vector = _vector(builder, table.StartKernelTypeStrArgsVector, written)
    name = builder.CreateString(operator.OpId())
    table.Start(builder)
    table.AddOpId(builder, name)
    table.AddKernelTypeStrArgs(builder, vector)
    return int(table.End(builder))


def _type(builder: Any, kind: Any) -> int:
    """A type, and which inputs and outputs have it."""
    from onnxruntime.tools.ort_format_model.ort_flatbuffers_py.fbs import ArgTypeAndIndex as place
    from onnxruntime.tools.ort_format_model.ort_flatbuffers_py.fbs import (
        KernelTypeStrArgsEntry as table,
    )

    written = []
    for one in map(kind.Args, range(kind.ArgsLength())):
        place.Start(builder)
        place.AddArgType(builder, one.ArgType())
        place.AddIndex(builder, one.Index())
        written.append(int(place.End(builder)))
    vector = _vector(builder, table.StartArgsVector, written)
    name = builder.CreateString(kind.KernelTypeStr())
    table.Start(builder)
    table.AddKernelTypeStr(builder, name)
    table.AddArgs(builder, vector)
    return int(table.End(builder))


def _vector(builder: Any, start: Callable[[Any, int], int], offsets: Sequence[int]) -> int:
    start(builder, len(offsets))
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())
