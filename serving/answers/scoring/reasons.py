"""Why the model answered so: which answers are explained, and the reasons that are stored."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import polars as pl

from components.contracts.names import BASIS_PRIOR
from components.reasons.ranking import asked_in, find_reasons
from components.reasons.wording import Wording

if TYPE_CHECKING:
    from components.config.root import Config
    from serving.answers.scoring.job import Batch
    from serving.answers.scoring.model import Model

Which = Literal["needed", "all", "none"]

HALF = 0.5  # the need from which a predicted number is explained
EXAMPLES_PER_CALL = 256  # of the signature that explains, which takes more memory


@dataclass(frozen=True)
class Explaining:
    """Which answers are explained, and in whose words; travels to the workers.

    Attributes:
        config: the classes, the decisions, and the words.
        which: `needed`: those that people are asked to do something about, which is a class below
            the highest, a decision that is taken, or a need of at least a half in a regression;
            or `all` but cold starts.
    """

    config: Config
    which: Which = "needed"

    def reasons(self, model: Model, batch: Batch, answers: pl.DataFrame) -> pl.Series:
        """Returns the reasons of each answer as JSON; an empty list for those not explained.

        Args:
            model: that answered.
            batch: the questions, with what is known of the learners.
            answers: a row per question, as `serving.answers.scoring.model.answer` gives them.

        Raises:
            MasteryError: the version cannot explain, or its explanations are no numbers.
        """
        assert batch.asked is not None, "the job keeps what reasons are worded from"
        classes = self.explained_classes(answers)
        places = [place for place, name in enumerate(classes) if name is not None]
        found = ["[]"] * answers.height
        wording = Wording.of(self.config)
        for start in range(0, len(places), EXAMPLES_PER_CALL):
            some = places[start : start + EXAMPLES_PER_CALL]
            names = [classes[place] or "" for place in some] if self._has_classes else None
            outputs = model.explain([batch.examples[place] for place in some], names)
            asked = asked_in(batch.asked[some], self.config)
            for place, one in zip(some, find_reasons(outputs, asked, wording), strict=True):
                listed = [reason.as_json() for reason in one.towards]
                found[place] = json.dumps(listed, ensure_ascii=False)
        return pl.Series(found, dtype=pl.String)

    def explained_classes(self, answers: pl.DataFrame) -> list[str | None]:
        """Returns whose probability is explained in each row: "" for the predicted class's.

        None where nothing is explained. A decision about learners whom the model predicts the
        highest class for is explained by the class of the decision.
        """
        warm = (answers["basis"] != BASIS_PRIOR).to_list()
        needed = self._needed(answers)
        return [
            None if not is_warm or (name is None and self.which == "needed") else name or ""
            for is_warm, name in zip(warm, needed, strict=True)
        ]

    def _needed(self, answers: pl.DataFrame) -> Sequence[str | None]:
        if not self._has_classes:
            return ["" if need >= HALF else None for need in answers["need"]]
        highest = self.config.label.classes[-1]
        about = {item.name: item.class_ for item in self.config.decisions}
        taken = (
            [json.loads(text) for text in answers["decisions"]]
            if "decisions" in answers.columns
            else [[]] * answers.height
        )
        return [
            "" if predicted != highest else next((about.get(name, "") for name in names), None)
            for predicted, names in zip(answers["predicted_class"], taken, strict=True)
        ]

    @property
    def _has_classes(self) -> bool:
        return self.config.label.task != "regression"
