"""Names of transformed features; their prefixes keep them apart whatever the columns are called."""

from __future__ import annotations

LABEL = "label"  # int64 index of the class [B], or float32 [B]
PRIOR = "prior"  # float32 [B, C], or [B, 1]: the answer for a cold start


def step(name: str) -> str:
    """The scaled values or ids of a step feature: ragged [B, T]."""
    return f"step_{name}"


def step_missing(name: str) -> str:
    """Whether a numeric step value was missing, as 0.0 or 1.0: ragged [B, T]."""
    return f"missing_step_{name}"


def context(name: str) -> str:
    """The scaled value or id of a context column: [B]."""
    return f"context_{name}"


def context_missing(name: str) -> str:
    """Whether a numeric context value was missing, as 0.0 or 1.0: [B]."""
    return f"missing_context_{name}"
