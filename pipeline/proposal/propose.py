"""Puts a proposal together: from what was seen to a configuration with comments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from components.command.explain import explain_invalid
from components.config.data import DWELL_CAP
from components.config.root import Config
from components.config.section import dotted
from components.errors import ConfigError
from pipeline.proposal.document import Item, flow, plain_values, write_document
from pipeline.proposal.judging import CONFIDENCE, WAY, Judging, judging_of
from pipeline.proposal.shape import Shape, context_of, features_of, shape_of, training_of

if TYPE_CHECKING:
    from pipeline.proposal.overview import Overview
    from pipeline.proposal.reading import Reading
    from pipeline.proposal.target import Target

USUAL_COLD_STARTS = 0.05  # the default of `data.max_cold_start_share`


@dataclass
class Proposal:
    """A configuration that was never edited, and what it was made from."""

    name: str
    schema: str
    reading: Reading
    overview: Overview
    target: Target
    shape: Shape
    judging: Judging
    items: list[Item] = field(default_factory=list)

    @property
    def values(self) -> dict[str, Any]:
        """The configuration without comments."""
        return plain_values(self.items)

    @property
    def seen(self) -> dict[str, str]:
        """What was seen of each column that the model reads, in words."""
        columns = {
            **features_of(self.overview, self.reading.fields, self.shape),
            **context_of(self.overview, self.target),
        }
        return {name: why for name, (_, why) in columns.items()}

    def text(self, title: Sequence[str]) -> str:
        """Returns the configuration as YAML with comments."""
        return write_document(title, self.items)

    def config(self, paths: Mapping[str, Any]) -> Config:
        """Returns the configuration, validated.

        Args:
            paths: replaces values whose paths count from another folder.

        Raises:
            ConfigError: the proposal does not fit the log after all.
        """
        try:
            return Config.model_validate({**self.values, **paths})
        except ValidationError as error:
            [problem, *_] = error.errors()
            place = dotted([str(part) for part in problem["loc"]])
            raise ConfigError(
                f"The proposal is not valid: {place}: {explain_invalid(problem)}. Name columns or "
                "outcomes yourself (mastery init --help)."
            ) from None


def propose(
    name: str, schema: str, reading: Reading, overview: Overview, target: Target
) -> Proposal:
    """Returns the proposal for a log.

    Args:
        name: of the pipeline and the model.
        schema: path of the schema, as the configuration will name it.
        reading: how its events are read.
        overview: its events.
        target: what is predicted.
    """
    shape = shape_of(overview, target)
    made = Proposal(name, schema, reading, overview, target, shape, judging_of(target, shape))
    made.items = [
        Item("name", name),
        _data(made),
        Item("schema", schema, why="what the columns hold; later logs are compared with it"),
        _label(target),
        _steps(made),
        *_context(made),
        *_protected(made),
        *_model(made),
        *_decisions(made),
        *_judging(made),
    ]
    return made


def _data(made: Proposal) -> Item:
    reading, shape = made.reading, made.shape
    given = reading.data
    items = [Item("events", given.pop("events"), why=reading.why)]
    for key, value in given.items():
        if key in ("columns", "mapping"):
            inner = [
                Item(name, way, why=reading.notes.get(name, "")) for name, way in value.items()
            ]
            items.append(Item(key, items=inner))
        else:
            items.append(Item(key, value))
    if not reading.has_zone and "timezone" not in given:
        why = "of times, which name none; write your own, such as Europe/Zurich"
        items.append(Item("timezone", reading.timezone, why=why))
    target = made.target
    items.append(_outcomes(target))
    if target.csv:
        items.append(Item("outcomes_csv", target.csv))
    if reading.format != "standard":
        items.append(
            Item(
                "dwell_cap_seconds",
                int(DWELL_CAP),
                why="the time to the learner's next event, at most half an hour",
            )
        )
    items.append(_cold_starts(shape))
    items.append(
        Item(
            "min_class_examples",
            made.judging.min_class_examples,
            why=f"of each class in each split; the fewest here are {shape.fewest:,}",
        )
    )
    if shape.splits:
        items.append(
            Item("splits", shape.splits, why="a class is rare: more to judge by than 8, 1 and 1")
        )
    return Item("data", items=items)


def _outcomes(target: Target) -> Item:
    if not isinstance(target.outcomes, Mapping):
        return Item("outcomes", target.outcomes, why="a row per learner, unit and as_of")
    inner = [Item(key, value) for key, value in target.outcomes.items()]
    return Item("outcomes", items=inner, why=target.why, instead=target.instead)


def _cold_starts(shape: Shape) -> Item:
    share = shape.cold_share
    if share <= 0.8 * USUAL_COLD_STARTS:
        return Item(
            "max_cold_start_share",
            USUAL_COLD_STARTS,
            why=f"outcomes without any event: {share:.1%} here",
        )
    allowed = min(1.0, round(1.25 * share + 0.01, 2))
    return Item(
        "max_cold_start_share",
        allowed,
        why=f"{share:.1%} of the outcomes have no event before as_of and are answered by the mean "
        "of their unit: are the ids and clocks of both tables the same?",
    )


def _label(target: Target) -> Item:
    value: dict[str, Any] = {"column": target.column}
    if target.is_number:
        value["task"] = "regression"
    else:
        value["classes"] = target.classes
    given = not isinstance(target.outcomes, Mapping)
    why = "; ".join(text for text in (target.why if given else "", target.order) if text)
    return Item("label", value, why=why, instead=target.other_labels)


def _steps(made: Proposal) -> Item:
    shape = made.shape
    features = features_of(made.overview, made.reading.fields, shape)
    columns = [Item(name, feature, why=seen) for name, (feature, seen) in features.items()]
    left = [f"{name}: {reason}" for name, reason in made.reading.left.items()]
    gone = [item.name for item in made.reading.fields if item.name not in features]
    left += [f"{name}: the same value in all rows, or none" for name in gone]
    return Item(
        "steps",
        items=[
            Item("history", shape.history, why=shape.why_history),
            Item("max_steps", shape.max_steps, why=shape.why_steps),
            Item(
                "features",
                items=columns,
                instead=[f"not read: {line}" for line in left],
            ),
        ],
    )


def _context(made: Proposal) -> list[Item]:
    found = context_of(made.overview, made.target)
    left = made.target.left
    known = {*made.target.protected, made.target.horizon}
    others = [name for name in made.target.slices if name not in known]
    instead = [f"{name}: {{type: categorical}}  # only if it is known at as_of" for name in others]
    instead += [f"{name}: {reason}" for name, reason in left.items()]
    if not found:
        return []
    return [
        Item(
            "context",
            items=[Item(name, value, why=why) for name, (value, why) in found.items()],
            instead=instead,
        )
    ]


def _protected(made: Proposal) -> list[Item]:
    names = [*made.target.protected]
    known = ["gender", "age", "age_band", "region"]
    if set(names) <= set(known):
        return []
    return [
        Item(
            "protected",
            [*known, *(name for name in names if name not in known)],
            why="never inputs: groups are compared by them",
        )
    ]


def _model(made: Proposal) -> list[Item]:
    model, training, why = training_of(made.shape)
    return [Item("model", model, why=why), Item("training", training)]


def _decisions(made: Proposal) -> list[Item]:
    if not made.judging.decisions:
        return []
    [(decision, why)] = made.judging.decisions
    at_risk = decision["class"]
    instead = [
        f"- {{name: call, class: {flow(at_risk)}, capacity: 10}}  # one in ten can be called",
        f"- {{name: call, class: {flow(at_risk)}, cost: {{miss: 5, false_alarm: 1}}}}",
    ]
    return [Item("decisions", items=[Item("", decision, why=why)], instead=instead)]


def _judging(made: Proposal) -> list[Item]:
    judging, shape = made.judging, made.shape
    gates = [Item("", gate, why=why) for gate, why in judging.gates]
    few = " That is few: the intervals are wide." if shape.tested < 200 else ""
    why = (
        f"The bounds are what guessing reaches plus {WAY:.0%} of the way to a perfect answer, and "
        f"{shape.tested:,} outcomes of other learners decide.{few} With `confidence` a bound has "
        f"to hold at the worse end of the {CONFIDENCE:.0%} interval. They say that a model has "
        "learned something, not that it is good enough to act on: raise them to what you need."
    )
    task = "rmse" if made.target.is_number else "auc"
    instead = [
        f"- {{metric: {task}, min_gain_over: trees, confidence: {CONFIDENCE}}}  # worth a network?"
    ]
    parts = [Item(key, value) for key, value in judging.evaluation.items()]
    items = [Item("evaluation", items=parts)]
    if judging.fairness:
        why_fair = "fails where a larger gap between groups is shown"
        items.append(Item("fairness", judging.fairness, why=why_fair))
    elif judging.unfair:
        items[0].instead = [judging.unfair]
    return [*items, Item("gates", items=gates, why=why, instead=instead)]
