"""The whole configuration, and the rules that span its sections."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from typing import Any

from pydantic import Field, field_validator, model_validator

from components.command.suggest import did_you_mean
from components.config.approvals import Approvals
from components.config.beam import Beam
from components.config.data import Data, Label
from components.config.decisions import Decision
from components.config.emotions import require_no_emotions
from components.config.fairness import Fairness, require_fairness_fits
from components.config.gates import (
    EvaluationRules,
    Gate,
    require_gates_fit,
    require_metric_fits,
    require_simple_models_fit,
)
from components.config.kubeflow import Kubeflow
from components.config.outcomes import require_outcomes_fit
from components.config.papers import Papers
from components.config.reasons import Reasons, require_words_fit
from components.config.retrain import Retrain
from components.config.rollout import Rollout
from components.config.runtime import Ci, Metadata, Notify, Push
from components.config.section import Address, InputName, KeyedError, Section
from components.config.summaries import require_summary
from components.config.tracking import Tracking
from components.config.training import Feature, Model, Prior, Steps, Training
from components.config.uncertainty import Explain, Uncertainty
from components.config.watch import Watch
from components.contracts.names import (
    AS_OF,
    DERIVED_STEPS,
    DWELL,
    LEARNER,
    RESERVED,
    TIME,
    UNIT,
    decision_output,
)

Keys = tuple[str | int, ...]  # the way from the file's top to a value
# Where and when nodes run, who is notified, what becomes of a version after its push, and what is
# watched then.
_RUNNER_SECTIONS = ("ci", "kubeflow", "notify", "retrain", "rollout", "tracking", "watch")


class Config(Section):
    """One data set or deployment: a YAML file, validated once before anything heavy is imported."""

    name: str = Field(description="name of the pipeline and of the served model")
    data: Data = Field(description="the behaviour log")
    schema_: Address = Field(
        alias="schema", description="the curated TFDV schema (see `mastery schema infer`)"
    )
    label: Label = Field(description="what is predicted")
    steps: Steps = Field(description="the sequence the model reads")
    context: dict[InputName, Feature] = Field(
        default_factory=dict,
        description="columns of outcomes (and `unit_id`) that are inputs beside the sequence",
    )
    protected: list[str] = Field(
        default_factory=lambda: ["gender", "age", "age_band", "region"],
        description="columns to slice by that may not be inputs, unless the feature has "
        "`allow_protected: true`",
    )
    prior: Prior = Field(default_factory=Prior, description="the answer for a cold start")
    model: Model = Field(default_factory=Model, description="the network")
    training: Training = Field(default_factory=Training, description="how it is fitted")
    uncertainty: Uncertainty = Field(
        default_factory=Uncertainty, description="how sure answers are said to be"
    )
    decisions: list[Decision] = Field(
        default_factory=list, description="what is done about learners, and when"
    )
    explain: Explain = Field(default_factory=Explain, description="how answers are explained")
    reasons: Reasons = Field(default_factory=Reasons, description="how reasons are worded")
    evaluation: EvaluationRules = Field(
        default_factory=EvaluationRules, description="how it is judged"
    )
    fairness: Fairness = Field(
        default_factory=Fairness, description="gaps between groups, and what is done about them"
    )
    gates: list[Gate] = Field(
        description="what a model has to reach before it is pushed", min_length=1
    )
    push: Push = Field(default_factory=Push, description="where a model that passed goes")
    papers: Papers = Field(
        default_factory=Papers, description="what people write for a version's papers"
    )
    approvals: Approvals = Field(
        default_factory=Approvals, description="who has to approve a version before it is served"
    )
    rollout: Rollout = Field(
        default_factory=Rollout, description="how a new version takes over from the one in service"
    )
    beam: Beam = Field(default_factory=Beam, description="how the data nodes run")
    retrain: Retrain = Field(
        default_factory=Retrain, description="when it is trained again, and on what"
    )
    notify: Notify = Field(default_factory=Notify, description="who is notified of how a run ended")
    tracking: Tracking = Field(
        default_factory=Tracking, description="which servers are told how runs went"
    )
    watch: Watch = Field(
        default_factory=Watch, description="what `mastery watch` expects of a model in service"
    )
    kubeflow: Kubeflow = Field(
        default_factory=Kubeflow, description="how it runs on Kubeflow Pipelines"
    )
    metadata: Metadata = Field(
        # Excluded from every dump: plans, manifests, fingerprints and cache keys do not depend on
        # where the store is.
        default_factory=Metadata,
        description="where ML Metadata keeps executions and artifacts",
        exclude=True,
    )
    ci: Ci = Field(default_factory=Ci, description="the small training of `mastery ci`")

    @field_validator("name")
    @classmethod
    def _name_is_plain(cls, value: str) -> str:
        if not re.fullmatch(r"[a-z][a-z0-9_-]{0,62}", value):
            raise ValueError(f"expected lower-case letters, digits, - and _, found {value!r}")
        return value

    @model_validator(mode="after")
    def _columns_have_one_role(self) -> Config:
        for keys, name, taken in self._named_columns():
            if name in taken or name in RESERVED:
                raise KeyedError(
                    keys,
                    "expected a column that is not a key, a step, the label or a reserved name, "
                    f"found {name!r}; rename the column in the log",
                )
        return self

    def _named_columns(self) -> Iterator[tuple[Keys, str, set[str]]]:
        """Yields every place that names a column, the name, and the names not allowed there."""
        columns, label, steps = self.data.columns, self.label.column, self.steps.features
        keys = {LEARNER, AS_OF, columns.learner_id, columns.time, columns.as_of}

        for name in steps:
            yield ("steps", "features", name), name, {*keys, UNIT, TIME, label}
        for name in self.context:
            yield ("context", name), name, {*keys, label}
        ids = {LEARNER, UNIT, AS_OF, columns.learner_id, columns.unit_id, columns.as_of}
        yield ("label", "column"), label, ids
        for index, names in enumerate(self.evaluation.slices):
            for name in names:
                yield ("evaluation", "slices", index), name, {label, *steps}
        for index, names in enumerate(self.fairness.columns):
            for name in names:
                yield ("fairness", "columns", index), name, {label, *steps}
        if self.fairness.reweigh is not None:
            yield ("fairness", "reweigh"), self.fairness.reweigh, {label, *steps}
        for index, name in enumerate(self.prior.group_by):
            yield ("prior", "group_by", index), name, {label, *steps}
        early = self.evaluation.early_warning
        for key in ("by", "outcome_day"):
            if early is not None and isinstance(name := getattr(early, key), str):
                yield ("evaluation", "early_warning", key), name, {*keys, label, *steps}

    @model_validator(mode="after")
    def _context_fits_the_steps(self) -> Config:
        for name in self.context:
            if name in self.steps.features:
                raise KeyedError(
                    ("context", name),
                    f"expected names that are not in steps.features, found {name!r} in both",
                )
            if name in DERIVED_STEPS:
                raise KeyedError(
                    ("context", name),
                    f"expected columns of outcomes, found {name!r}, which is a step feature; "
                    "move it to steps.features",
                )

        unit = self.context.get(UNIT)
        if unit is not None and unit.type != "categorical":
            raise KeyedError(
                ("context", UNIT, "type"),
                f"expected categorical, since a unit is a name, found {unit.type}",
            )
        return self

    @model_validator(mode="after")
    def _protected_columns_only_slice(self) -> Config:
        inputs: dict[Keys, Feature] = {
            **{("steps", "features", name): item for name, item in self.steps.features.items()},
            **{("context", name): item for name, item in self.context.items()},
        }
        for keys, feature in inputs.items():
            name = keys[-1]
            if name in self.protected and not feature.allow_protected:
                raise KeyedError(
                    keys,
                    f"{name} is listed in `protected` and cannot be an input; "
                    "remove it, or write `allow_protected: true` in the feature",
                )

        for index, name in enumerate(self.prior.group_by):
            if name in self.protected and not self.prior.allow_protected:
                raise KeyedError(
                    ("prior", "group_by", index),
                    f"{name} is listed in `protected`; "
                    "remove it, or write `prior.allow_protected: true`",
                )
        return self

    @model_validator(mode="after")
    def _no_emotions_are_inferred(self) -> Config:
        columns: dict[Keys, tuple[str, str | None]] = {
            ("label", "column"): (self.label.column, self.label.emotion_reason)
        }
        for name, feature in self.steps.features.items():
            columns["steps", "features", name] = (name, feature.emotion_reason)
        for name, feature in self.context.items():
            columns["context", name] = (name, feature.emotion_reason)
        for index, name in enumerate(self.prior.group_by):
            columns["prior", "group_by", index] = (name, self.prior.emotion_reason)
        require_no_emotions(columns)
        return self

    @model_validator(mode="after")
    def _shared_steps_are_the_same_for_all(self) -> Config:
        fills = self.data.dwell_cap_seconds is not None and DWELL in self.steps.features
        if self.steps.shared and fills:
            raise KeyedError(
                ("steps", "shared"),
                "expected steps that are the same for all outcomes, found `dwell_seconds` with "
                "`data.dwell_cap_seconds`: whether a gap is known depends on the outcome; write "
                "`data.dwell_cap_seconds: null`, or leave the feature out",
            )
        return self

    @model_validator(mode="after")
    def _shared_steps_need_one_worker(self) -> Config:
        if self.steps.shared and self.training.workers > 1:
            raise KeyedError(
                ("training", "workers"),
                "expected 1 with `steps.shared: true`, whose batches cannot be cut by outcomes: "
                f"the sequence of an outcome would be elsewhere; found {self.training.workers}",
            )
        return self

    @model_validator(mode="after")
    def _gates_fit_the_task(self) -> Config:
        if self.ci.metric is not None:
            require_metric_fits(self.ci.metric, self.label, keys=("ci", "metric"))
        require_simple_models_fit(self.evaluation, self.label)
        if self.evaluation.rule is not None:
            require_summary(self.evaluation.rule.summary, self.steps, self.context)
        for keys, gates in ((("gates",), self.gates), (("ci", "gates"), self.ci.gates or [])):
            require_gates_fit(gates, self.label, self.evaluation, self.decisions, keys=keys)
        return self

    @model_validator(mode="after")
    def _class_weights_name_the_classes(self) -> Config:
        weights, classes = self.training.class_weights, self.label.classes
        if isinstance(weights, dict) and sorted(weights) != sorted(classes):
            unknown = next((name for name in weights if name not in classes), "")
            raise KeyedError(
                ("training", "class_weights"),
                f"expected a weight for each of {classes}, found them for {[*weights]}"
                f"{did_you_mean(unknown, classes)}",
            )
        return self

    @model_validator(mode="after")
    def _decisions_name_classes(self) -> Config:
        names = [decision.name for decision in self.decisions]
        for index, decision in enumerate(self.decisions):
            if names.count(decision.name) > 1:
                raise KeyedError(
                    ("decisions", index, "name"),
                    f"expected names that differ, found {decision.name} twice",
                )
            if decision.class_ not in self.label.classes:
                raise KeyedError(
                    ("decisions", index, "class"),
                    f"expected one of {self.label.classes}, found {decision.class_!r}"
                    f"{did_you_mean(decision.class_, self.label.classes)}",
                )
            if decision_output(decision.name) in self.outcome_columns:
                raise KeyedError(
                    ("decisions", index, "name"),
                    "expected a name without a column of its own, found the column "
                    f"{decision_output(decision.name)} in the log; choose another name",
                )
        return self

    @model_validator(mode="after")
    def _outcomes_can_be_derived(self) -> Config:
        if self.data.derived is not None:
            fold = self.data.splits.column
            columns = [*self.outcome_columns, *([] if fold is None else [fold])]
            features = {name: feature.type for name, feature in self.steps.features.items()}
            require_outcomes_fit(self.data.derived, self.label, columns, features)
        return self

    @model_validator(mode="after")
    def _words_name_features(self) -> Config:
        require_words_fit(self.reasons, self.steps, self.context)
        return self

    @model_validator(mode="after")
    def _fairness_fits(self) -> Config:
        require_fairness_fits(
            self.fairness, self.label, self.evaluation, self.decisions, self.protected
        )
        return self

    @property
    def outcome_columns(self) -> list[str]:
        """Columns of outcomes that examples carry besides keys and label, in a stable order."""
        sliced = [name for names in self.evaluation.slices for name in names]
        compared = [name for names in self.fairness.columns for name in names]
        reweighed = [] if self.fairness.reweigh is None else [self.fairness.reweigh]
        early = self.evaluation.early_warning
        warned = early.columns if early else ()
        groups = [*self.prior.group_by, *sliced, *compared, *reweighed]
        names = [*self.context, *groups, *warned]
        keys = {LEARNER, UNIT, AS_OF, self.label.column}
        return [name for name in dict.fromkeys(names) if name not in keys]

    def section_json(self, *names: str) -> str:
        """Returns the named sections as canonical JSON, for cache keys."""
        return json.dumps(
            self.model_dump(mode="json", by_alias=True, include={*names}), sort_keys=True
        )

    @property
    def recipe(self) -> dict[str, Any]:
        """What a pushed version was made with: every section that changes the model."""
        return self.model_dump(mode="json", by_alias=True, exclude={*_RUNNER_SECTIONS})

    @property
    def fingerprint(self) -> str:
        """A short digest of the recipe."""
        text = json.dumps(self.recipe, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]
