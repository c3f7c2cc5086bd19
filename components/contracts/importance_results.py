"""Which features the model's answers rest on, and whether its reasons are right."""

from __future__ import annotations

from components.contracts.contract import Part

Interval = tuple[float, float]  # lower and upper end


class FeatureImportance(Part):
    """How much the probability of a class, or a predicted number, rests on one feature.

    Attributes:
        feature: its name in the configuration; summaries of the sequence by theirs.
        size: mean size of its attribution over the explained examples, whichever way it goes.
        interval: of the size, from drawing learners with replacement.
        lean: from -1 to 1: whether values above the typical one speak for the class (1) or against
            it (-1), weighted by size; None for words.
        before: its size in the model that was blessed before; None without one that explains.
    """

    feature: str
    size: float
    interval: Interval | None = None
    lean: float | None = None
    before: float | None = None


class Removal(Part):
    """What happens to an answer when the events that explain it are taken out of the log.

    Attributes:
        examples: how many sequences were cut.
        share: of the events of each that were taken out.
        named: by how much the probability of the answered class falls on average when the events
            that speak most for it are taken out.
        random: the same for as many events at random.
        gain: the mean of the first minus the second.
        interval: of the gain, from drawing learners with replacement.
    """

    examples: int
    share: float
    named: float
    random: float
    gain: float
    interval: Interval | None = None


class TrueDrivers(Part):
    """How often reasons name what the simulator knows to have driven an answer.

    Attributes:
        examples: how many answers were compared.
        top: how many features count as named, and as true drivers.
        shared: share of the true drivers that are among the named ones.
        interval: of the share, from drawing learners with replacement.
        by_chance: the share that features named at random would reach.
    """

    examples: int
    top: int
    shared: float
    interval: Interval | None = None
    by_chance: float


class ImportanceResults(Part):
    """Attributions over many test examples.

    Attributes:
        examples: how many were explained, for every class.
        points: of the way from the typical learner to each, at which gradients were taken.
        completeness: the largest distance of an example's attributions, added up, from the
            difference between its answer and the typical one.
        classes: features by class, the most important first; a regression has one entry, "".
        removal: whether events that are named matter; None where no sequence is long enough.
        drivers: whether reasons are true; only where the configuration says that the log is
            simulated.
    """

    examples: int
    points: int
    completeness: float
    classes: dict[str, list[FeatureImportance]]
    removal: Removal | None = None
    drivers: TrueDrivers | None = None
