"""Which model of a server is asked."""

from __future__ import annotations

from dataclasses import dataclass

from components.errors import MasteryError


@dataclass(frozen=True)
class Target:
    """A model, and maybe one of its versions.

    Attributes:
        model: its name.
        version: number of a version; None for the server's choice, which is the highest it has loaded.
        label: a version label such as `stable` or `canary`, instead of a number.
    """

    model: str
    version: int | None = None
    label: str | None = None

    def __post_init__(self) -> None:
        if self.version is not None and self.label is not None:
            raise MasteryError(
                f"expected a version or a label, found both: version {self.version}, label {self.label}."
            )

    def describe(self) -> str:
        """Returns the model in words."""
        if self.version is not None:
            return f"model {self.model}, version {self.version}"
        return f"model {self.model}, label {self.label}" if self.label else f"model {self.model}"
