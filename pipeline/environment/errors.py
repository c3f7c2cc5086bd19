"""What can go wrong before anything is installed, so before any error class of a dependency exists."""

from __future__ import annotations


class SetupError(Exception):
    """The environment cannot be made; the text says what was expected, what was found and what to do."""
