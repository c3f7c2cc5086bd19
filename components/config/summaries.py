"""Names of summaries: counts, rates and recent values of a sequence.

Which summaries there are depends on the features of the steps. `components.transform.summaries`
computes them, by these names and in this order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from components.command.escape import shorten
from components.command.suggest import did_you_mean
from components.config.section import KeyedError
from components.config.training import Categorical, Numeric
from components.contracts.names import NUM_STEPS, SAME_UNIT, STEP_UNIT, TIME_TO_AS_OF, UNIT

if TYPE_CHECKING:
    from components.config.training import Feature, Steps

MOST_WORDS = 20  # words of larger vocabularies are not counted one by one
RECENT = 5  # steps that are recent
TICKS = (1, 3, 5)  # windows before `as_of` in the unit of `time`, for clocks that count
DAYS = (1, 3, 7, 14, 30)  # windows in days, for timestamps
DAY = 86_400.0  # seconds

SHOWN = 12  # names that an error lists
_BY_WORD = (".count", ".recent")


@dataclass(frozen=True)
class Summary:
    """One number that says something about a sequence.

    Attributes:
        name: what a rule calls it, such as `correct.mean`.
        has_tail: whether it may grow without bounds, so that logarithms of it are scaled.
    """

    name: str
    has_tail: bool = False


def counts_words(name: str, feature: Feature) -> bool:
    """Returns whether each word of a step feature is counted."""
    is_small = isinstance(feature, Categorical) and feature.vocabulary <= MOST_WORDS
    return is_small and name != STEP_UNIT


def plain_numbers(features: Mapping[str, Feature]) -> dict[str, Numeric]:
    """Returns the columns of numbers without the derived ones that have summaries of their own."""
    return {
        name: feature
        for name, feature in features.items()
        if isinstance(feature, Numeric) and name not in (TIME_TO_AS_OF, SAME_UNIT)
    }


def knows_unit(features: Mapping[str, Feature], context: Mapping[str, Feature]) -> bool:
    """Returns whether steps in the unit that is asked about can be told from others."""
    return SAME_UNIT in features or (STEP_UNIT in features and UNIT in context)


def list_summaries(
    steps: Steps, context: Mapping[str, Feature], words: Mapping[str, Sequence[str]]
) -> list[Summary]:
    """Returns the summaries of a configuration's sequences, in their order.

    Args:
        steps: the features of the steps.
        context: the columns beside the sequence.
        words: of the categorical features that `counts_words`, in the order of their ids.
    """
    in_unit = knows_unit(steps.features, context)
    found = [Summary(NUM_STEPS, has_tail=True)]
    if in_unit:
        found.append(Summary(f"{SAME_UNIT}.count", has_tail=True))
        found.append(Summary(f"{SAME_UNIT}.recent"))

    for name, feature in steps.features.items():
        if counts_words(name, feature):
            for word in words.get(name, ()):
                found.append(Summary(f"{name}.{word}.count", has_tail=True))
                found.append(Summary(f"{name}.{word}.recent"))
        elif isinstance(feature, Categorical):
            found.append(Summary(f"{name}.different", has_tail=True))
            found.append(Summary(f"{name}.repeats", has_tail=True))
        elif name == TIME_TO_AS_OF:
            found += _of_time()
        elif name != SAME_UNIT:
            found += _of_number(name, in_unit=in_unit)
    return found


def _of_time() -> Iterator[Summary]:
    kinds = ["last", "first", "longest_gap"]
    kinds += [f"events_{ticks}" for ticks in TICKS]
    kinds += [f"events_{days}d" for days in DAYS]
    kinds += [f"days_{days}d" for days in DAYS[1:]]
    for kind in kinds:
        yield Summary(f"{TIME_TO_AS_OF}.{kind}", has_tail=True)


def _of_number(name: str, *, in_unit: bool) -> Iterator[Summary]:
    yield from (Summary(f"{name}.{kind}") for kind in ("last", "mean", "recent"))
    yield Summary(f"{name}.sum", has_tail=True)
    yield Summary(f"{name}.missing")
    if in_unit:
        yield from (Summary(f"{name}.{SAME_UNIT}.{kind}") for kind in ("last", "mean"))


def require_summary(
    name: str,
    steps: Steps,
    context: Mapping[str, Feature],
    words: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """Checks that a rule names a summary.

    Args:
        name: what the rule names.
        steps: the features of the steps.
        context: the columns beside the sequence.
        words: by feature; None where they are not known yet, and any may occur.

    Raises:
        KeyedError: there is no such summary.
    """
    counted = [item for item, feature in steps.features.items() if counts_words(item, feature)]
    if words is None and any(
        name.startswith(f"{item}.") and name.endswith(_BY_WORD) for item in counted
    ):
        return

    known = [summary.name for summary in list_summaries(steps, context, words or {})]
    if name not in known:
        shown = [*known[:SHOWN], *(["..."] if len(known) > SHOWN else [])]
        shown += [f"{item}.WORD.count" for item in counted if words is None]
        raise KeyedError(
            ("evaluation", "rule", "summary"),
            f"expected a summary of the steps ({', '.join(shown)}), "
            f"found {shorten(repr(name))}{did_you_mean(name, known)}",
        )
