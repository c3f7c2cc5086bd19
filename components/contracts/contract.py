"""The base of every JSON file that one node or process writes and another reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from components.command.explain import as_sentence, explain_invalid
from components.errors import MasteryError
from components.files.atomic import write_text


class ContractError(MasteryError):
    """A file that Mastery wrote is missing or does not hold what its contract says."""


class Part(BaseModel):
    """A part of a contract's file; unknown keys are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True, populate_by_name=True)


class Contract(BaseModel):
    r"""One JSON file: the writer dumps it, every reader loads it.

    Unknown keys are ignored, so that a newer writer may add some. A change that an older reader
    would misread takes a new format number, which that reader refuses.

    >>> class Note(Contract):
    ...     FILE = "note.json"
    ...     text: str
    >>> Note(text="hello").to_json()
    '{\n  "format": 1,\n  "text": "hello"\n}\n'

    Attributes:
        FILE: the file's name, below the folder of the artifact or run.
        FORMAT: the newest format of the file that this code knows.
        format: the format of this file; a file without a number has format 1.
    """

    model_config = ConfigDict(extra="ignore", frozen=True, populate_by_name=True)

    FILE: ClassVar[str]
    FORMAT: ClassVar[int] = 1

    format: int = Field(1, ge=1, strict=True)  # "9" would pass the check below, and be read as 9

    @model_validator(mode="before")
    @classmethod
    def _format_is_known(cls, values: Any) -> Any:
        # Before the fields, which may have other types in a newer format.
        found = values.get("format", 1) if isinstance(values, dict) else 1
        if isinstance(found, int) and found > cls.FORMAT:
            raise ValueError(
                f"expected format {cls.FORMAT} or earlier, found {found}: "
                "a newer version of Mastery wrote it; update this one"
            )
        return values

    def to_json(self) -> str:
        """Returns the file's text."""
        return self.model_dump_json(by_alias=True, indent=2) + "\n"

    def write(self, folder: Path) -> Path:
        """Writes the file into `folder`, whole or not at all, and returns its path."""
        path = folder / self.FILE
        write_text(path, self.to_json())
        return path

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Returns what the file in `folder` holds.

        Raises:
            ContractError: it is missing, unreadable, or not what the contract says.
        """
        return cls.read_file(folder / cls.FILE)

    @classmethod
    def read_file(cls, path: Path) -> Self:
        """Returns what a file holds, whatever its name.

        Raises:
            ContractError: it is missing, unreadable, or not what the contract says.
        """
        try:
            return cls.from_json(path.read_bytes())
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise ContractError(f"{path}: could not be read ({reason}).") from None
        except ContractError as error:
            raise ContractError(f"{path}: {error}") from None

    @classmethod
    def from_json(cls, content: str | bytes) -> Self:
        """Returns what the text of a file holds.

        Raises:
            ContractError: it is not what the contract says.
        """
        try:
            return cls.model_validate_json(content)
        except ValidationError as error:
            raise ContractError(f"expected {cls.FILE} of Mastery; {first_problem(error)}") from None


def first_problem(error: ValidationError) -> str:
    """Returns the first thing that is wrong with a file, as a sentence that names the key."""
    first = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    text = as_sentence(explain_invalid(first))
    return f"{place}: {text}" if place else text
