"""Which operations a graph holds, and which of them run without a GPU, as TensorFlow's own registry has it."""

from __future__ import annotations

from collections.abc import Iterable

from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.python.framework import kernels

ANYWHERE = {"CPU", "DEFAULT"}  # the devices whose kernels run on every machine


def operations(graph: GraphDef) -> set[str]:
    """Returns the names of the operations in a graph and in its functions; calls of those functions are none."""
    functions = graph.library.function
    nodes = [*graph.node, *(node for function in functions for node in function.node_def)]
    return {node.op for node in nodes} - {function.signature.name for function in functions}


def without_cpu_kernel(names: Iterable[str]) -> list[str]:
    """Returns, sorted, those operations that this TensorFlow has no kernel for on a CPU: `CudnnRNNV3`, say.

    TensorFlow from its packages knows the kernels of GPUs also where there is no GPU; a build without CUDA does not,
    and there an operation for GPUs only is found by having no kernel at all.
    """
    return sorted(name for name in set(names) if not _devices(name) & ANYWHERE)


def _devices(name: str) -> set[str]:
    return {kernel.device_type for kernel in kernels.get_registered_kernels_for_op(name).kernel}
