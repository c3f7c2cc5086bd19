"""Which requests can share a call of the graph, and how they are put together."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from components.contracts.names import NUM_STEPS
from serving.server.signatures import Array, Arrays, Signature

SMALLEST_WIDTH = 64  # steps: requests up to this long are padded to one another; longer ones within a factor of two


def kind_of(signature: Signature, inputs: Arrays) -> Hashable:
    """Returns what requests have to have in common to share a call."""
    steps = signature.step_inputs
    widths = {inputs[name].shape[1] for name in steps}
    if len(widths) > 1:
        return object()  # the graph decides how many steps count; padded, it would decide otherwise
    if widths:
        width = max(SMALLEST_WIDTH, widths.pop())
        rest = tuple(values.shape[1:] for name, values in inputs.items() if name not in steps)
        return (
            (width - 1).bit_length(),
            *rest,
        )  # widths within a factor of two, or padding could cost any memory
    return tuple(values.shape[1:] for values in inputs.values())


def join(requests: Sequence[Arrays], step_inputs: Sequence[str]) -> Arrays:
    """Concatenates requests along their rows, padding their steps to the longest.

    Args:
        requests: inputs by name.
        step_inputs: names of those [rows, steps]; `num_steps` says how many of their steps count. Within a request
            they are equally wide.
    """
    joined: Arrays = {}
    widest = max(
        (request[name].shape[1] for request in requests for name in step_inputs), default=0
    )
    for name in requests[0]:
        parts = [request[name] for request in requests]
        if name in step_inputs:
            parts = [_padded(part, widest) for part in parts]
        elif name == NUM_STEPS and step_inputs:
            # The model takes at most as many steps as the request is wide; now it could see the padding.
            widths = [request[step_inputs[0]].shape[1] for request in requests]
            parts = [np.minimum(part, width) for part, width in zip(parts, widths, strict=True)]
        joined[name] = np.concatenate(parts)
    return joined


def _padded(part: Array, width: int) -> Array:
    if part.shape[1] == width:
        return part
    fill: Any = b"" if part.dtype == object else 0
    whole = np.full((len(part), width), fill, part.dtype)
    whole[:, : part.shape[1]] = part
    return whole
