"""Columns that infer emotions, by their names: inputs that European law forbids in education.

Article 5(1)(f) of the EU AI Act, Regulation (EU) 2024/1689, forbids systems that infer emotions of
people in education, except for medical or safety reasons. Logs of learning platforms have such
columns: ASSISTments' affect detectors write `RES_FRUSTRATED` and `Average_confidence(BORED)`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated

from pydantic import Field

from components.config.section import KeyedError

# Why a column that infers an emotion is used all the same; it is kept with the configuration.
EmotionReason = Annotated[
    str | None,
    Field(
        min_length=10,
        description="why a column whose name says that it infers an emotion is used all the same: "
        "Article 5(1)(f) of the EU AI Act forbids that in education, except for medical or safety "
        "reasons; the reason stands in the manifest and the papers of every version",
    ),
]

# Words as they stand in names of columns, in English and German.
EMOTIONS = frozenset(
    """
    affect affective affects anger angry annoyance annoyed anxiety anxious arousal bored boredom
    concentrating confused confusion delight delighted disgust distress emotion emotional emotions
    engaged_concentration engcon engagement_emotion enjoyment excited excitement eureka fear
    frustrated frustration happiness happy joy mood moods sad sadness sentiment shame stress
    stressed valence
    aerger affekt angst begeisterung emotionen freude frust frustriert gelangweilt gestresst
    langeweile scham stimmung traurig traurigkeit verwirrt verwirrung wut ärger
    """.split()  # noqa: SIM905 (a list of a word a line would be three screens long)
)


def emotion_in(column: str) -> str | None:
    """Returns the word that names an emotion in a column's name; None where there is none.

    Whole words count, in snake_case and in camelCase: `moodle` and `distressed_rope` are no moods.

    >>> emotion_in("RES_FRUSTRATED"), emotion_in("confidence(BORED)"), emotion_in("moodle_id")
    ('frustrated', 'bored', None)
    """
    words = re.findall(r"[A-ZÄÖÜ]+(?![a-zäöüß])|[A-ZÄÖÜ]?[a-zäöüß]+", column)
    lower = [word.lower() for word in words]
    pairs = [f"{one}_{other}" for one, other in pairwise(lower)]
    return next((word for word in [*lower, *pairs] if word in EMOTIONS), None)


def require_no_emotions(columns: Mapping[tuple[str | int, ...], tuple[str, str | None]]) -> None:
    """Checks that no column that is predicted or read infers an emotion, unless a reason is given.

    Args:
        columns: by the way to it in the configuration, a column and the reason why it may.

    Raises:
        KeyedError: one does.
    """
    for keys, (name, reason) in columns.items():
        word = emotion_in(name)
        if word is not None and reason is None:
            section = (
                "prior" if keys[0] == "prior" else "label" if keys[0] == "label" else "feature"
            )
            raise KeyedError(
                keys,
                f"expected no column that infers an emotion, found {name} ({word}): Article "
                "5(1)(f) of the EU AI Act forbids it in education; remove the column, or write "
                f"`emotion_reason: ...` in the {section} if it is a medical or safety reason, or "
                "if the column is about something else",
            )
