"""How does a server without Python score? An ONNX graph of a few standard operations, tried in ONNX Runtime."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import torch

from gnas_ext.errors import InputError
from gnas_ext.models.coded import in_floats
from gnas_ext.models.ease import ItemWeights
from gnas_ext.models.factors import FactorModel
from gnas_ext.models.popularity import Popularity
from gnas_ext.recommend.export import agree
from gnas_ext.recommend.export.scorer import KINDS, inputs

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from gnas_ext.models.base import Model
    from gnas_ext.models.factors import Table

# Old enough for every server of today; nothing newer is needed.
_OPSET, _IR = 17, 8
_LARGEST = 2**31 - (1 << 20)  # bytes; Protocol Buffers end at 2 GiB


def write_onnx(model: Model, path: Path) -> None:
    """Writes a graph: input `users` (or `histories`) and output `scores`, as of `scorer.write_program`.

    Raises:
        InputError: another kind of model, more than 2 GiB, a graph that scores otherwise, or the extra is missing.
    """
    onnx, runtime = _module("onnx"), _module("onnxruntime")
    graph = _Graph(onnx.helper, onnx.TensorProto)
    by_history = isinstance(model, ItemWeights)
    match in_floats(model):
        case FactorModel() as factors:
            rows = graph.rows("user", factors.user, "users")
            scores = graph.add("MatMul", rows, graph.add("Transpose", graph.rows("item", factors.item, None)))
            if factors.prior is not None:
                scores = graph.add("Add", scores, graph.constant("prior", factors.prior))
        case Popularity() as popularity:
            batch = graph.add("Shape", "users")
            one = graph.constant("weight", popularity.weight[None])
            scores = graph.add(
                "Expand", one, graph.add("Concat", batch, graph.constant("one", torch.ones(1).long()), axis=0)
            )
        case ItemWeights() as items:
            scores = graph.add("MatMul", "histories", graph.constant("weight", items.weight))
        case _:
            raise agree.no_form(model, "onnx", KINDS)
    if graph.bytes > _LARGEST:
        raise InputError(
            f"export: an ONNX file holds at most 2 GiB, the model has {graph.bytes:,} bytes; use --to torch"
        )
    path.write_bytes(graph.finished(onnx, scores, by_history, model.n_items))
    session = runtime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    for users in agree.sampled(model):
        (found,) = session.run(["scores"], {name: inputs(model, users).numpy()})
        agree.check("onnx", model.score(users), torch.from_numpy(found))


class _Graph:
    """Nodes and constants, one after the other; each node is named by its place."""

    def __init__(self, helper: Any, types: Any) -> None:
        self._helper = helper
        self._types = {torch.float32: types.FLOAT, torch.int8: types.INT8, torch.int64: types.INT64}
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self.bytes = 0

    def add(self, operation: str, *names: str, **attributes: Any) -> str:
        """A node; the name of its output."""
        output = f"{operation.lower()}{len(self._nodes)}"
        self._nodes.append(self._helper.make_node(operation, names, [output], **attributes))
        return output

    def constant(self, name: str, value: Tensor) -> str:
        """A constant; its name."""
        self.bytes += value.nbytes
        raw = value.contiguous().numpy().tobytes()
        self._constants.append(self._helper.make_tensor(name, self._types[value.dtype], value.shape, raw, raw=True))
        return name

    def rows(self, side: str, table: Table, index: str | None) -> str:
        """Rows of a table in float32: all, or those of an input."""
        quantised = table.rows.dtype == torch.int8 and table.scale is not None
        rows = self.constant(f"{side}.rows", table.rows if quantised else table.float())
        if index is not None:
            rows = self.add("Gather", rows, index)
        if not quantised:
            return rows
        assert table.scale is not None
        scale = self.constant(f"{side}.scale", table.scale[:, None])
        if index is not None:
            scale = self.add("Gather", scale, index)
        return self.add("Mul", self.add("Cast", rows, to=self._types[torch.float32]), scale)

    def finished(self, onnx: Any, scores: str, by_history: bool, n_items: int) -> bytes:
        """The file."""
        helper = self._helper
        number, code = self._types[torch.float32], self._types[torch.int64]
        taken = ("histories", number, ["batch", n_items]) if by_history else ("users", code, ["batch"])
        self._nodes.append(helper.make_node("Identity", [scores], ["scores"]))
        graph = helper.make_graph(
            self._nodes,
            "gnas_ext scorer",
            [helper.make_tensor_value_info(*taken)],
            [helper.make_tensor_value_info("scores", number, ["batch", n_items])],
            self._constants,
        )
        opset = [helper.make_opsetid("", _OPSET)]
        file = helper.make_model(graph, opset_imports=opset, ir_version=_IR, producer_name="gnas_ext")
        onnx.checker.check_model(file)
        return bytes(file.SerializeToString(deterministic=True))


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise InputError(f"export: --to onnx needs {error.name}: pip install 'gnas_ext[export]'") from error
