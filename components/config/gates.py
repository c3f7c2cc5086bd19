"""Gates: what a model has to reach before it is pushed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field, model_validator

from components.command.escape import shorten
from components.command.suggest import did_you_mean
from components.config.decisions import Decision, EarlyWarning
from components.config.metrics import METRICS, Level, metrics_of, metrics_of_task
from components.config.section import Address, KeyedError, Section

if TYPE_CHECKING:
    from components.config.data import Label

GateBound = Literal[
    "min", "max", "min_change", "max_change", "max_gap", "min_gain_over", "max_spread"
]
BOUNDS: tuple[GateBound, ...] = get_args(GateBound)

# What people would use instead of the network, fitted on the same train split: `linear` takes the
# place of `logistic` in a regression.
SimpleModel = Literal["prior", "rule", "logistic", "linear", "trees"]


def require_known(name: str, known: Sequence[str]) -> None:
    """Checks that a name is one of those known.

    Raises:
        ValueError: it is not; the text lists the known names and suggests one that is close.
    """
    if name not in known:
        found = f"{shorten(repr(name))}{did_you_mean(name, known)}"
        raise ValueError(f"expected one of {', '.join(known)}, found {found}")


def _one_of(names: Sequence[str]) -> Any:
    """Returns the type of one of `names`: a literal, so that the reference lists them."""

    def check(value: object) -> object:
        if isinstance(value, str):
            require_known(value, names)
        return value

    return Annotated[Literal[tuple(names)], BeforeValidator(check)]


if TYPE_CHECKING:
    MetricName = str
    OverallMetricName = str
else:
    MetricName = _one_of(tuple(METRICS))
    OverallMetricName = _one_of(metrics_of(Level.OVERALL, Level.REGRESSION))


class Gate(Section):
    """One gate: a metric, on which examples it is measured, and its bounds.

    Every bound that is given has to hold. `min_change` and `max_change` compare with the blessed
    baseline and hold when there is none yet. `max_gap` bounds the distance between the best and the
    worst value of the metric over the slices of one column. `min_gain_over` compares with a simple
    model on the same examples, `max_spread` bounds the difference between fits with several seeds.

    With `confidence` a bound has to hold at the worse end of the number's interval, so that a model
    that passes does so on any machine and with any seed, and not by luck.
    """

    metric: MetricName = Field(description="name of the metric, as in the report")
    class_: str | None = Field(None, alias="class", description="the class the metric is taken for")
    decision: str | None = Field(
        None,
        description="the decision the metric is taken for: precision, recall, alarm_rate or cost",
    )
    slice: str | dict[str, str] | None = Field(
        None, description="a column: every one of its slices; {column: value}: that slice"
    )
    min: float | None = Field(None, description="lowest value that passes")
    max: float | None = Field(None, description="highest value that passes")
    min_change: float | None = Field(
        None, description="lowest passing change against the blessed baseline"
    )
    max_change: float | None = Field(
        None, description="highest passing change against the blessed baseline"
    )
    max_gap: float | None = Field(
        None, description="highest passing distance between slices of a column"
    )
    min_gain_over: SimpleModel | None = Field(
        None,
        description="a simple model that has to be beaten on the same examples: prior, rule, "
        "logistic (linear in a regression) or trees",
    )
    min_gain: float = Field(
        0.0, description="by how much the model has to be better, with `min_gain_over`"
    )
    max_spread: float | None = Field(
        None,
        ge=0,
        description="highest passing difference between the best and the worst of the fits of "
        "`evaluation.seeds`",
    )
    confidence: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="0.95: the bound has to hold at the worse end of the 95% interval of what it "
        "bounds, from drawing learners with replacement; default: for the number itself",
    )
    min_examples: int = Field(30, ge=1, description="slices with fewer examples are left out")

    @model_validator(mode="before")
    @classmethod
    def _slice_values_as_text(cls, value: object) -> object:
        if isinstance(value, dict) and isinstance(value.get("slice"), dict):
            return {**value, "slice": {key: str(item) for key, item in value["slice"].items()}}
        return value

    @model_validator(mode="after")
    def _has_a_bound(self) -> Gate:
        if all(getattr(self, bound) is None for bound in BOUNDS):
            raise ValueError(f"expected at least one of {', '.join(BOUNDS)}; found none")
        if self.max_gap is not None and not isinstance(self.slice, str):
            raise ValueError(
                "max_gap: expected `slice: COLUMN` in the same gate, to name the slices to compare"
            )
        return self

    @model_validator(mode="after")
    def _options_fit_the_bound(self) -> Gate:
        if self.min_gain and self.min_gain_over is None:
            raise KeyedError("min_gain", "expected min_gain_over in the same gate, found none")
        if self.max_spread is not None and self.slice is not None:
            raise KeyedError("slice", "expected none with max_spread, which is over all examples")
        given = [bound for bound in BOUNDS if getattr(self, bound) is not None]
        if self.confidence is not None and given == ["max_spread"]:
            raise KeyedError(
                "confidence", "expected none with max_spread alone: it has no interval"
            )
        return self

    @model_validator(mode="after")
    def _class_fits_the_metric(self) -> Gate:
        levels = METRICS[self.metric].levels
        if self.decision is not None:
            self._require_metric_of_decisions(levels)
            return self
        if levels == (Level.DECISION,):
            raise ValueError(f"metric {self.metric}: expected `decision:` beside it")
        if self.class_ is None and Level.CLASS in levels and Level.OVERALL not in levels:
            raise ValueError(
                f"metric {self.metric}: expected `class:` beside it, or {self.metric}_macro"
            )
        if self.class_ is not None and Level.CLASS not in levels:
            known = ", ".join(metrics_of(Level.CLASS))
            raise ValueError(
                f"metric: expected one of {known} beside `class:`, found {self.metric}"
            )
        return self

    def _require_metric_of_decisions(self, levels: Sequence[Level]) -> None:
        if Level.DECISION not in levels:
            known = ", ".join(metrics_of(Level.DECISION))
            raise KeyedError(
                "metric", f"expected one of {known} beside `decision:`, found {self.metric}"
            )
        if self.class_ is not None:
            raise KeyedError("class", "expected none beside `decision:`, which has a class")
        for bound in ("min_gain_over", "max_spread"):
            if getattr(self, bound) is not None:
                raise KeyedError(bound, "expected none beside `decision:`, which it never compares")


class Rule(Section):
    """A rule of thumb: one class where a summary of the sequence is above a number, or another."""

    summary: str = Field(description="name of the summary, such as `time_to_as_of.last`")
    above: float = Field(description="where it is above this number, the answer is `class`")
    class_: str = Field(alias="class", description="the class answered above it")
    otherwise: str = Field(description="the class answered everywhere else")


class EvaluationRules(Section):
    """How the model is judged on the test split."""

    slices: list[list[str]] = Field(
        default_factory=list,
        description="columns of outcomes to slice by; a list of columns slices by all of them at "
        "once",
    )
    min_slice_examples: int = Field(
        1, ge=1, description="slices with fewer examples are not reported"
    )
    max_examples: int = Field(
        1_000_000,
        ge=1,
        description="test examples that models are judged on; of more, about so many, those of a "
        "sample of learners, whose metrics and intervals are reported",
    )
    baseline: Address | None = Field(
        None,
        description="folder of a pushed version to compare with; default: the model blessed last "
        "in the run's root",
    )
    simple_models: list[SimpleModel] = Field(
        default_factory=list,
        description="what people would use instead, fitted on the same train split and measured "
        "beside the model: prior, rule, logistic (linear in a regression), trees",
    )
    rule: Rule | None = Field(None, description="the rule of thumb that `rule` means")
    confidence: float = Field(
        0.95, gt=0, lt=1, description="confidence of the intervals that are reported"
    )
    draws: int = Field(
        1000,
        ge=0,
        le=100_000,
        description="how often learners are drawn with replacement for intervals; 0: no intervals",
    )
    early_warning: EarlyWarning | None = Field(
        None,
        description="how early decisions are right; default: by days from the first event, where "
        "there are decisions",
    )
    seeds: int = Field(
        1,
        ge=1,
        le=20,
        description="how many models are fitted, each from another seed, to see how much the "
        "metrics move; the first is the one that is pushed",
    )

    @model_validator(mode="before")
    @classmethod
    def _one_column_is_a_slice(cls, value: object) -> object:
        if isinstance(value, dict) and isinstance(value.get("slices"), list):
            slices = [[item] if isinstance(item, str) else item for item in value["slices"]]
            return {**value, "slices": slices}
        return value


def require_gates_fit(
    gates: Sequence[Gate],
    label: Label,
    evaluation: EvaluationRules,
    decisions: Sequence[Decision],
    *,
    keys: Sequence[str | int],
) -> None:
    """Checks that gates ask for metrics, classes, decisions and slices that an evaluation has.

    Args:
        gates: the gates.
        label: its task and classes.
        evaluation: its slices.
        decisions: those that are configured.
        keys: the way to the gates in the configuration.

    Raises:
        KeyedError: one does not.
    """
    sliced = [sorted(columns) for columns in evaluation.slices]
    for index, gate in enumerate(gates):
        require_metric_fits(gate.metric, label, keys=(*keys, index, "metric"))
        if gate.class_ is not None:
            _require_known_at((*keys, index, "class"), gate.class_, label.classes)
        if gate.decision is not None:
            _require_decision(gate, decisions, keys=(*keys, index))
        _require_measured(gate, evaluation, keys=(*keys, index))

        columns = [gate.slice] if isinstance(gate.slice, str) else sorted(gate.slice or {})
        if columns and columns not in sliced:
            single = [names[0] for names in sliced if len(names) == 1]
            hint = did_you_mean(columns[0], single) if len(columns) == 1 else ""
            raise KeyedError(
                (*keys, index, "slice"),
                f"{' with '.join(columns)} is not in evaluation.slices; add it there{hint}",
            )


def _require_decision(
    gate: Gate, decisions: Sequence[Decision], *, keys: Sequence[str | int]
) -> None:
    """Checks that a gate on a decision names one, and one with costs for a gate on its cost.

    Raises:
        KeyedError: it does not.
    """
    by_name = {decision.name: decision for decision in decisions}
    if gate.decision not in by_name:
        expected = f"one of {', '.join(by_name)}" if by_name else "a decision of `decisions`"
        raise KeyedError(
            (*keys, "decision"),
            f"expected {expected}, found {shorten(repr(gate.decision))}"
            f"{did_you_mean(gate.decision or '', [*by_name])}",
        )
    if gate.metric == "cost" and by_name[gate.decision].cost is None:
        raise KeyedError(
            (*keys, "metric"),
            f"expected another metric than cost: decision {gate.decision} has no `cost:`",
        )


def _require_measured(
    gate: Gate, evaluation: EvaluationRules, *, keys: Sequence[str | int]
) -> None:
    """Checks that the evaluation measures what a gate compares with.

    Raises:
        KeyedError: it does not.
    """
    name = gate.min_gain_over
    if name is not None and name not in evaluation.simple_models:
        raise KeyedError(
            (*keys, "min_gain_over"), f"{name} is not in evaluation.simple_models; add it there"
        )
    if gate.max_spread is not None and evaluation.seeds < 2:
        raise KeyedError(
            (*keys, "max_spread"),
            f"expected evaluation.seeds of 2 or more, found {evaluation.seeds}",
        )
    if gate.confidence is not None:
        needed = math.ceil(2 / (1 - gate.confidence) - 1e-6)  # one beyond each end of the interval
        if evaluation.draws < needed:
            raise KeyedError(
                (*keys, "confidence"),
                f"expected evaluation.draws of {needed} or more, found {evaluation.draws}",
            )


def require_simple_models_fit(evaluation: EvaluationRules, label: Label) -> None:
    """Checks that simple models are of the label's task, and that the rule names its classes.

    Raises:
        KeyedError: one is of another task, or the rule is missing or does not fit.
    """
    regression = label.task == "regression"
    for index, name in enumerate(evaluation.simple_models):
        keys = ("evaluation", "simple_models", index)
        if name == ("logistic" if regression else "linear"):
            instead = "linear" if regression else "logistic"
            raise KeyedError(keys, f"expected {instead} for a {label.task}, found {name}")
        if name == "rule" and regression:
            raise KeyedError(keys, "expected a classification for a rule, found a regression")
        if name == "rule" and evaluation.rule is None:
            raise KeyedError(keys, "expected evaluation.rule beside it, found none")

    if evaluation.rule is not None:
        rule = evaluation.rule
        for key, class_ in (("class", rule.class_), ("otherwise", rule.otherwise)):
            _require_known_at(("evaluation", "rule", key), class_, label.classes)


def require_metric_fits(metric: str, label: Label, *, keys: Sequence[str | int]) -> None:
    """Checks that a metric is measured for the label's task.

    Raises:
        KeyedError: it is not.
    """
    _require_known_at(keys, metric, metrics_of_task(label.task))


def _require_known_at(keys: Sequence[str | int], name: str, known: Sequence[str]) -> None:
    try:
        require_known(name, known)
    except ValueError as error:
        raise KeyedError(keys, str(error)) from None
