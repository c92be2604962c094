"""LiteRT as a runtime of tprune: a plug-in, for an environment of its own. How to use it: docs/runtimes.md, LiteRT.

tprune export MODEL --plugin litert_runtime --runtime litert --out small
"""

import re

import numpy as np

from tprune.runtimes.runtime import RUNTIMES
from tprune.support.errors import InputError
from tprune.support.machine import version_of


class LiteRt:
    """A `.tflite` for each graph, by litert-torch; run by the interpreter of ai-edge-litert."""

    name, package = "litert", "litert-torch"
    install = "pip install litert-torch, in an environment of its own"
    dialect = "masked"  # attention as products, an added mask and a softmax

    def supports(self, precision, skeleton):
        """Single precision."""
        return None if precision.exact else f"this plug-in writes fp32; expected that, not {precision}"

    def multiple(self, precision):
        """Nothing was measured."""
        return 1

    def toolchain(self):
        """What makes the files."""
        found = {name: version_of(name) for name in ("torch", "litert-torch", "ai-edge-litert")}
        return {name: version for name, version in found.items() if version is not None}

    def write(self, graphs, folder, precision):
        """Lowers every graph, its free sizes included."""
        import litert_torch

        for graph in graphs:
            try:
                made = litert_torch.convert(graph.module, graph.example, dynamic_shapes=graph.dynamic_shapes)
            except Exception as error:  # whatever its converters raise
                said = " ".join(str(error).split())[:300]
                raise InputError(f"litert-torch cannot convert the graph {graph.name}: {said}") from None
            made.export(str(folder / f"{graph.name}.tflite"))
        return ()

    def open(self, folder, layout, threads):
        """An interpreter for each file."""
        from ai_edge_litert.interpreter import Interpreter

        files = {graph.name: str(folder / f"{graph.name}.tflite") for graph in layout.graphs}
        opened = {name: Interpreter(model_path=file, num_threads=threads) for name, file in files.items()}
        return LiteRtSession(opened, {graph.name: graph for graph in layout.graphs})


class LiteRtSession:
    """Interpreters by graph. Inputs and outputs have numbers there, in the order of the signature."""

    def __init__(self, interpreters, signatures):
        self.interpreters, self.signatures = interpreters, signatures

    def run(self, graph, feeds, outputs):
        """Sizes are set anew for every call."""
        interpreter, signature = self.interpreters[graph], self.signatures[graph]
        inputs = in_order(interpreter.get_input_details())
        for spec, place in zip(signature.inputs, inputs, strict=True):
            interpreter.resize_tensor_input(place["index"], feeds[spec.name].shape)
        interpreter.allocate_tensors()
        for spec, place in zip(signature.inputs, inputs, strict=True):
            interpreter.set_tensor(place["index"], np.ascontiguousarray(feeds[spec.name], place["dtype"]))
        interpreter.invoke()
        found = dict(zip(signature.outputs, in_order(interpreter.get_output_details()), strict=True))
        return [interpreter.get_tensor(found[name]["index"]) for name in outputs]


def in_order(details):
    """By the numbers in their names, such as `serving_default_args_3_0:0`."""
    return sorted(details, key=lambda one: [int(number) for number in re.findall(r"\d+", one["name"])])


RUNTIMES.enter("litert", LiteRt())
