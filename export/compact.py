"""A graph whose matrices are stored in fewer bits and computed with in float32: smaller on the disk, the same numbers.

ONNX Runtime evaluates what depends on constants alone when it opens the graph, so at run time nothing is left of it.
Lossless by construction: a matrix is only stored in fewer bits if exactly the same numbers come out again.
"""

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from export.storage import BLOCK, from_blocks, is_matrix, to_blocks

SUFFIX = ".stored"


def compact(graph: bytes) -> bytes:
    """The same graph with every matrix in the smallest storage that holds it exactly."""
    model = onnx.load_from_string(graph)
    kept, nodes = [], []
    for item in model.graph.initializer:
        stored = _stored(item) if item.data_type == TensorProto.FLOAT and is_matrix(tuple(item.dims)) else None
        if stored is None:
            kept.append(item)
            continue
        kept += stored[0]
        nodes += stored[1]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    others = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*nodes, *others])
    onnx.checker.check_model(model, full_check=True)
    data: bytes = model.SerializeToString()
    return data


def _stored(item: TensorProto) -> tuple[list[TensorProto], list[onnx.NodeProto]] | None:
    values, name = numpy_helper.to_array(item), item.name
    blocks = _exact_blocks(values)
    if blocks is not None:
        integers, exponents, transposed = blocks
        scale = np.exp2(exponents.astype(np.float32)).astype(np.float16)
        shape = np.array(values.T.shape if transposed else values.shape, np.int64)
        tensors = [
            numpy_helper.from_array(integers.reshape(-1, BLOCK), name + SUFFIX),
            numpy_helper.from_array(scale.reshape(-1, 1), name + ".scale"),
            numpy_helper.from_array(shape, name + ".shape"),
        ]
        last = name + ".transposed" if transposed else name
        nodes = [
            helper.make_node("Cast", [name + SUFFIX], [name + ".integers"], to=TensorProto.FLOAT),
            helper.make_node("Cast", [name + ".scale"], [name + ".scales"], to=TensorProto.FLOAT),
            helper.make_node("Mul", [name + ".integers", name + ".scales"], [name + ".blocks"]),
            helper.make_node("Reshape", [name + ".blocks", name + ".shape"], [last]),
        ]
        if transposed:
            nodes.append(helper.make_node("Transpose", [last], [name], perm=[1, 0]))
        return tensors, nodes
    half = values.astype(np.float16)
    if np.array_equal(half.astype(np.float32), values):
        tensor = numpy_helper.from_array(half, name + SUFFIX)
        return [tensor], [helper.make_node("Cast", [name + SUFFIX], [name], to=TensorProto.FLOAT)]
    return None


def _exact_blocks(
    values: npt.NDArray[np.float32],
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.int8], bool] | None:
    """Integers, exponents, and whether they are those of the transpose; None if neither way is exact."""
    flat = values.reshape(len(values), -1)
    for transposed in (True, False) if values.ndim == 2 else (False,):
        rows = np.ascontiguousarray(flat.T) if transposed else flat
        if rows.shape[1] % BLOCK == 0:
            integers, exponents = to_blocks(rows)
            if np.array_equal(from_blocks(integers, exponents), rows):
                return integers, exponents, transposed
    return None
