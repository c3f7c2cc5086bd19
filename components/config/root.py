"""The whole configuration, and the rules that span its sections."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

from pydantic import Field, field_validator, model_validator

from components.config.data import Data, Label
from components.config.gates import (
    Evaluation,
    Gate,
    require_gates_fit,
    require_metric_fits,
)
from components.config.kubeflow import Kubeflow
from components.config.runtime import Beam, Ci, Metadata, Notify, Push
from components.config.section import Address, Section
from components.config.training import Feature, InputName, Model, Prior, Steps, Training
from components.contracts.names import AS_OF, DERIVED_STEPS, LEARNER, RESERVED, TIME, UNIT

_RUNNER_SECTIONS = ("ci", "kubeflow", "notify")  # they say where nodes run and whom to tell


class Config(Section):
    """One data set or deployment: a YAML file, validated once, before anything heavy is imported."""

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
        description="columns that may slice, but are no inputs unless the feature says `allow_protected: true`",
    )
    prior: Prior = Field(default_factory=Prior, description="the answer for a cold start")
    model: Model = Field(default_factory=Model, description="the network")
    training: Training = Field(default_factory=Training, description="how it is fitted")
    evaluation: Evaluation = Field(default_factory=Evaluation, description="how it is judged")
    gates: list[Gate] = Field(
        description="what a model has to reach before it is pushed", min_length=1
    )
    push: Push = Field(default_factory=Push, description="where a model that passed goes")
    beam: Beam = Field(default_factory=Beam, description="how the data nodes run")
    notify: Notify = Field(default_factory=Notify, description="whom to tell how a run ended")
    kubeflow: Kubeflow = Field(
        default_factory=Kubeflow, description="how it runs on Kubeflow Pipelines"
    )
    metadata: Metadata = Field(
        # Excluded from every dump: where the store is belongs into no plan, manifest, fingerprint or cache key.
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
    def _names_are_distinct(self) -> Config:
        both = sorted(set(self.steps.features) & set(self.context))
        if both:
            raise ValueError(
                f"context: expected names that are not in steps.features, found {both}"
            )
        columns, label = self.data.columns, self.label.column
        keys = {LEARNER, AS_OF, columns.learner_id, columns.time, columns.as_of}
        sliced = {name for names in self.evaluation.slices for name in names}
        for place, named, taken in (
            ("steps.features", set(self.steps.features), {*keys, UNIT, TIME, label}),
            ("context", set(self.context), {*keys, label}),
            (
                "label.column",
                {label},
                {LEARNER, UNIT, AS_OF, columns.learner_id, columns.unit_id, columns.as_of},
            ),
            ("evaluation.slices", sliced, {label, *self.steps.features}),
            ("prior.group_by", set(self.prior.group_by), {label, *self.steps.features}),
        ):
            if wrong := sorted(named & {*taken, *RESERVED}):
                raise ValueError(
                    f"{place}: {wrong} cannot be named here (a key, a step, the label, or reserved); "
                    "rename the column in the log"
                )
        wrong = sorted(set(DERIVED_STEPS) & set(self.context))
        if wrong:
            raise ValueError(f"context: {wrong} are step features; name them under steps.features")
        unit = self.context.get(UNIT)
        if unit is not None and unit.type != "categorical":
            raise ValueError(f"context.{UNIT}: expected type: categorical, since a unit is a name")
        return self

    @model_validator(mode="after")
    def _protected_columns_only_slice(self) -> Config:
        features = {**self.steps.features, **self.context}
        for name in self.protected:
            if name in features and not features[name].allow_protected:
                raise ValueError(
                    f"{name} is listed in `protected` and cannot be an input; "
                    "remove it, or write `allow_protected: true` in the feature"
                )
            if name in self.prior.group_by and not self.prior.allow_protected:
                raise ValueError(
                    f"prior.group_by: {name} is listed in `protected`; "
                    "remove it, or write `prior.allow_protected: true`"
                )
        return self

    @model_validator(mode="after")
    def _gates_fit_the_task(self) -> Config:
        if self.ci.metric is not None:
            require_metric_fits(self.ci.metric, self.label, key="ci.metric")
        require_gates_fit(self.gates, self.label, self.evaluation, key="gates")
        require_gates_fit(self.ci.gates or [], self.label, self.evaluation, key="ci.gates")
        return self

    @model_validator(mode="after")
    def _class_weights_name_the_classes(self) -> Config:
        weights = self.training.class_weights
        if isinstance(weights, dict) and sorted(weights) != sorted(self.label.classes):
            raise ValueError(
                f"training.class_weights: expected a weight for each of {self.label.classes}"
            )
        return self

    @property
    def outcome_columns(self) -> list[str]:
        """Columns of outcomes that examples carry besides keys and label, in a stable order."""
        names = [
            *self.context,
            *self.prior.group_by,
            *(name for names in self.evaluation.slices for name in names),
        ]
        keys = {LEARNER, UNIT, AS_OF, self.label.column}
        return [name for name in dict.fromkeys(names) if name not in keys]

    def section_json(self, *names: str) -> str:
        """Returns the named sections as canonical JSON: the part of a cache key that is configuration."""
        return json.dumps(
            self.model_dump(mode="json", by_alias=True, include={*names}), sort_keys=True
        )

    @property
    def recipe(self) -> dict[str, Any]:
        """Every section but those that only say where nodes run and whom to tell: what a pushed version was made by."""
        return self.model_dump(mode="json", by_alias=True, exclude={*_RUNNER_SECTIONS})

    @property
    def fingerprint(self) -> str:
        """A short digest of the recipe."""
        text = json.dumps(self.recipe, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]
