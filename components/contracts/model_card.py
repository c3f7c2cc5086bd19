"""Files in a SavedModel's `assets.extra`: its card, and what a later fit reads to start from it."""

from __future__ import annotations

import json
from typing import Any, ClassVar, Literal, Self

from pydantic import ValidationError

from components.contracts.contract import Contract, ContractError, first_problem
from components.contracts.names import PORTABLE

WEIGHTS = "assets.extra/weights.npz"  # arrays by path in Keras, such as lstm_0/lstm_cell/kernel


class ModelCard(Contract):
    """How a model is fed, what made it, and which exports it has.

    Attributes:
        name: the served model's name.
        task: what kind of label it predicts.
        classes: the classes in the order of its probabilities; empty for a regression.
        config: the Trainer's part of the configuration.
        code: fingerprint of the code that made it.
        exports: folders of the exports below the model's folder, by `PORTABLE` and `GPU`.
    """

    FILE: ClassVar[str] = "assets.extra/mastery.json"

    name: str
    task: Literal["classification", "regression"]
    classes: list[str] = []
    config: dict[str, Any]
    code: str = ""
    exports: dict[str, str] = {PORTABLE: "."}


class NetworkLayout(Contract):
    """Which rows of a layer's kernel read what, to move rows into a network with other inputs.

    >>> layout = NetworkLayout(inputs={"dense_0": [("lstm_1", 32), ("context_unit_id", 8)]})
    >>> NetworkLayout.from_json(layout.to_json()) == layout
    True

    Attributes:
        inputs: what a layer reads, by its name: the layers and inputs whose numbers are joined, in
            order, each with how many numbers it has.
    """

    FILE: ClassVar[str] = "assets.extra/layout.json"

    inputs: dict[str, list[tuple[str, int]]]


class Vocabularies(Contract):
    r"""The words that each embedded feature knows, for a later fit that starts from it.

    The file has one key per feature beside `format`. Words may be any bytes; those that are not
    UTF-8 are written as lone surrogates, which `json` keeps and Pydantic refuses.

    >>> file = Vocabularies(words={"step_event_type": [b"quiz", b"\xff"]})
    >>> file.to_json()
    '{"format": 1, "step_event_type": ["quiz", "\\udcff"]}\n'
    >>> Vocabularies.from_json(file.to_json()) == file
    True

    Attributes:
        words: by the name of the transformed feature, in the order of the rows of its embedding.
    """

    FILE: ClassVar[str] = "assets.extra/vocabularies.json"

    words: dict[str, list[bytes]]

    def to_json(self) -> str:
        """Returns the file's text."""
        texts = {
            name: [word.decode("utf-8", "surrogateescape") for word in words]
            for name, words in self.words.items()
        }
        return json.dumps({"format": self.format, **texts}) + "\n"

    @classmethod
    def from_json(cls, content: str | bytes) -> Self:
        """Returns what the text of a file holds.

        Raises:
            ContractError: it is not what the contract says.
        """
        try:
            file = dict(json.loads(content))
            number = file.pop("format", 1)
            words = {
                name: [word.encode("utf-8", "surrogateescape") for word in texts]
                for name, texts in file.items()
            }
            return cls.model_validate({"format": number, "words": words})
        except ValidationError as error:
            reason = first_problem(error)
        except (AttributeError, TypeError, ValueError):
            reason = "expected lists of words by feature."
        raise ContractError(f"expected {cls.FILE} of Mastery; {reason}")
