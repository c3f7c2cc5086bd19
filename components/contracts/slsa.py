"""`provenance.json`: how a version was made, as other programs read it (in-toto, SLSA).

An in-toto statement (https://in-toto.io/Statement/v1) with SLSA's predicate
(https://slsa.dev/provenance/v1). Names in camel case are theirs, and so is what each field means.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final, Literal

from pydantic import ConfigDict, Field
from pydantic.alias_generators import to_camel

from components.contracts.contract import Contract, Part

STATEMENT: Final = "https://in-toto.io/Statement/v1"
PREDICATE: Final = "https://slsa.dev/provenance/v1"
BUILD = "urn:mastery:run:1"  # what our parameters and dependencies are called
BUILDER = "urn:mastery:pipeline"


class _Camel(Part):
    model_config = ConfigDict(alias_generator=to_camel)


class Resource(_Camel):
    """A thing that can be told by its digest.

    Attributes:
        name: what we call it.
        uri: where it is from.
        digest: by the name of the algorithm, in hexadecimal.
        annotations: what else is known.
    """

    name: str | None = None
    uri: str | None = None
    digest: dict[str, str] | None = None
    annotations: dict[str, Any] | None = None


class BuildDefinition(_Camel):
    """What was asked for, and what it was made from.

    Attributes:
        build_type: how to read the rest.
        external_parameters: the configuration, as the user chose it.
        internal_parameters: what the pipeline chose.
        resolved_dependencies: data, code, configuration, packages.
    """

    build_type: str = BUILD
    external_parameters: dict[str, Any]
    internal_parameters: dict[str, Any] = {}
    resolved_dependencies: list[Resource]


class Builder(_Camel):
    """Who made it.

    Attributes:
        id: the pipeline; not the machine, which can be any.
        version: of Mastery and Python, by name.
        builder_dependencies: the image, if it ran in a container.
    """

    id: str = BUILDER
    version: dict[str, str]
    builder_dependencies: list[Resource] | None = None


class Metadata(_Camel):
    """Which run it was; times as in RFC 3339, in UTC."""

    invocation_id: str
    started_on: str | None = None
    finished_on: str


class RunDetails(_Camel):
    """The run."""

    builder: Builder
    metadata: Metadata


class Provenance(_Camel):
    """SLSA's predicate."""

    build_definition: BuildDefinition
    run_details: RunDetails


class Statement(Contract):
    """The whole file.

    Attributes:
        type_: says that it is a statement of in-toto.
        subject: the model's files, by name and digest.
        predicate_type: says that it is provenance after SLSA.
        predicate: the provenance.
    """

    FILE: ClassVar[str] = "provenance.json"

    model_config = ConfigDict(alias_generator=to_camel)

    format: int = Field(1, exclude=True)  # the statement has no room for a number of ours
    type_: Literal["https://in-toto.io/Statement/v1"] = Field(STATEMENT, alias="_type")
    subject: list[Resource]
    predicate_type: Literal["https://slsa.dev/provenance/v1"] = PREDICATE
    predicate: Provenance

    def to_json(self) -> str:
        """Returns the file's text, without fields that have no value."""
        return self.model_dump_json(by_alias=True, indent=2, exclude_none=True) + "\n"
