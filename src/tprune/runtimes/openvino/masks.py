"""A mask for every attention that has none.

Where no mask is added to the scores of an attention, its kernel for the CPU gives wrong results for 16 keys and more if
the first inference of the process had none before it, as in every decoding from an empty cache (seen in
2026.4.1). With a mask, of zeros too, it does not.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tprune.runtimes.openvino.package import openvino


def add_zero_masks(model: Any) -> int:
    """Adds zeros, whose number is known only when it runs, to the scores of attentions without a mask.

    Args:
        model: an `openvino.Model` whose attentions are products and a softmax; it is changed.

    Returns:
        how many there were.
    """
    softmaxes = [node for node in model.get_ordered_ops() if node.get_type_name() == "Softmax"]
    bare = [node for node in softmaxes if node.input_value(0).get_node().get_type_name() == "MatMul"]
    for node in bare:
        node.input(0).replace_source_output(_masked(node.input_value(0)))
    model.validate_nodes_and_infer_types()
    return len(bare)


def _masked(scores: Any) -> Any:
    """Scores `[B, h, T, S]` plus zeros `[1, 1, 1, S]`."""
    ops = openvino().opset13
    keys = ops.gather(ops.shape_of(scores), ops.constant(np.array([3], np.int64)), ops.constant(np.int64(0)))
    shape = ops.concat([ops.constant(np.ones(3, np.int64)), keys], 0)
    return ops.add(scores, ops.broadcast(ops.constant(np.float32(0)), shape)).output(0)
