"""A run of ours as a run of MLflow, and a pushed version as a version of a registered model.

Everything is looked up before it is made, and what is sent twice is the same, so a run that was
told half is finished by telling it again.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.contracts.names import SERVING_DEFAULT
from components.errors import MasteryError
from components.sending import secret
from pipeline.tracking.model_signature import Tensor, read_signature

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel, Run

    from components.config.tracking import Mlflow
    from components.contracts.evaluation import Evaluation, Result
    from pipeline.tracking.facts import RunFacts

RUN_TAG = "mastery.run"
VERSION_TAG = "mastery.version"  # of a registered model's version: the number of the pushed one
_STATUS = {"failed": "FAILED", "interrupted": "KILLED"}  # all other runs are finished
_MOST = 100  # parameters and tags in a request; metrics may be more
_LONGEST_PARAM, _LONGEST_TAG = 6000, 5000  # characters
_ODD = re.compile(r"[^\w.\-/ ]")  # in names, MLflow refuses all else
_SAVED = "tf2model"  # the folder where MLflow's flavour for TensorFlow looks for a SavedModel


def connect(config: Mlflow, *, seconds: float) -> MlflowClient:
    """Returns a client of a server.

    Args:
        config: where it is.
        seconds: the longest to wait for an answer.

    Raises:
        MasteryError: the client is not installed.
        UndeliveredError: a variable with a secret is missing.
    """
    # The client reads them when it is imported, or at each request.
    os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] = str(max(1, math.ceil(seconds)))
    os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "1"
    os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
    if config.token_env:
        os.environ["MLFLOW_TRACKING_TOKEN"] = secret(config.token_env)
    if config.user and config.password_env:
        os.environ["MLFLOW_TRACKING_USERNAME"] = config.user
        os.environ["MLFLOW_TRACKING_PASSWORD"] = secret(config.password_env)

    try:
        from mlflow import MlflowClient
    except ImportError:
        raise MasteryError(
            "expected MLflow's client, found none: `pip install mastery[mlflow]`"
        ) from None
    address = address_of(config)
    return MlflowClient(tracking_uri=address, registry_uri=address)


def address_of(config: Mlflow) -> str:
    """Returns the server's address.

    Raises:
        UndeliveredError: the variable that holds it is missing.
    """
    return config.uri or secret(config.uri_env or "")


def tell_run(client: MlflowClient, config: Mlflow, facts: RunFacts) -> str:
    """Makes a run of MLflow of ours, or completes the one that is there.

    Returns:
        MLflow's id of the run.

    Raises:
        MlflowException: the server refuses something, or is away.
    """
    from mlflow.entities import Metric, Param, RunTag

    experiment = _experiment(client, config.experiment or facts.record.name)
    run = _find_run(client, experiment, facts) or _create_run(client, experiment, facts)
    number, moment = str(run.info.run_id), _milliseconds(facts.ended)

    params = [Param(key, value) for key, value in parameters_of(facts)]
    for part in _parts(params, _MOST):
        client.log_batch(number, params=part)
    metrics = [Metric(key, value, moment, step) for key, value, step in metrics_of(facts)]
    for part in _parts(metrics, 500):
        client.log_batch(number, metrics=part)
    tags = [RunTag(key, value[:_LONGEST_TAG]) for key, value in tags_of(facts).items()]
    for part in _parts(tags, _MOST):
        client.log_batch(number, tags=part)
    for file, folder in artifacts_of(facts):
        client.log_artifact(number, str(file), folder)

    if config.register_ and facts.version is not None:
        register_version(client, experiment, run, facts)
    client.set_terminated(number, _STATUS.get(facts.record.state, "FINISHED"), moment)
    return number


def _experiment(client: MlflowClient, name: str) -> str:
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return str(client.create_experiment(name))
        except MlflowException:  # another run has just made it
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    return str(found.experiment_id)


def _find_run(client: MlflowClient, experiment: str, facts: RunFacts) -> Run | None:
    found = client.search_runs([experiment], f"tags.`{RUN_TAG}` = '{facts.record.run}'")
    return found[0] if found else None


def _create_run(client: MlflowClient, experiment: str, facts: RunFacts) -> Run:
    record = facts.record
    return client.create_run(
        experiment,
        start_time=_milliseconds(record.started),
        tags={RUN_TAG: record.run},
        run_name=record.run,
    )


def parameters_of(facts: RunFacts) -> Iterator[tuple[str, str]]:
    """Yields the configuration of a run, a pair for each key: `training.epochs`, `30`."""
    for key, value in flatten(facts.config.recipe):
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        yield _plain(key), text[:_LONGEST_PARAM]


def flatten(value: object, above: str = "") -> Iterator[tuple[str, object]]:
    """Yields keys and values of nested mappings, and of lists that hold some; None is left out.

    >>> dict(flatten({"a": {"b": 1}, "c": [{"d": 2}], "e": [3, 4], "f": None}))
    {'a.b': 1, 'c.0.d': 2, 'e': [3, 4]}
    """
    dot = f"{above}." if above else ""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from flatten(item, f"{dot}{key}")
    elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        for index, item in enumerate(value):
            yield from flatten(item, f"{dot}{index}")
    elif value is not None:
        yield above, value


def metrics_of(facts: RunFacts) -> Iterator[tuple[str, float, int]]:
    """Yields what was measured: the name, the value and the step.

    Of each epoch by Keras' names; on the test split as `test/f1_macro`, with the ends of the
    interval as `test/f1_macro_low` and `_high`, and of a class as `test/f1/mastered`.
    """
    last = 0
    if facts.history:
        for epoch in facts.history.epochs:
            last = int(epoch.get("epoch") or last + 1)
            for key, value in epoch.items():
                if key != "epoch" and value is not None and math.isfinite(value):
                    yield _plain(key), float(value), last
    if facts.evaluation:
        for key, value in final_metrics(facts.evaluation):
            yield _plain(f"test/{key}"), value, last
    yield "seconds", facts.record.seconds or 0.0, last


def final_metrics(evaluation: Evaluation) -> Iterator[tuple[str, float]]:
    """Yields the metrics on the test split by name, also of each class, and their intervals."""
    overall = evaluation.overall
    yield from _with_interval(overall, overall.metrics)
    for name, measured in overall.classes.items():
        values = {key: getattr(measured, key) for key in ("precision", "recall", "f1", "auc")}
        for key, value in _with_interval(measured, values):
            yield f"{key}/{name}", value


def _with_interval(
    measured: Result | Any, values: Mapping[str, float | None]
) -> Iterator[tuple[str, float]]:
    for key, value in values.items():
        if value is None or not math.isfinite(value):
            continue
        yield key, float(value)
        low, high = measured.intervals.get(key, (None, None))
        if low is not None and high is not None:
            yield f"{key}_low", float(low)
            yield f"{key}_high", float(high)


def tags_of(facts: RunFacts) -> dict[str, str]:
    """Returns what a run is found by: its state, data, version, and each gate with its verdict."""
    record, evaluation = facts.record, facts.evaluation
    tags = {
        "mastery.state": record.state,
        "mastery.config_fingerprint": facts.config.fingerprint,
        "mastery.data": record.data.describe() if record.data else "",
        "mastery.data_fingerprint": (record.data and record.data.fingerprint) or "",
        VERSION_TAG: "" if facts.version is None else str(facts.version),
        "mlflow.note.content": record.error or "",
        "mlflow.source.name": "mastery",
    }
    if evaluation and evaluation.blessed is not None:
        tags["mastery.gates"] = "passed" if evaluation.blessed else "failed"
        for index, gate in enumerate(evaluation.gates):
            verdict = "passed" if gate.passed else "failed"
            tags[f"mastery.gate.{index:02}"] = f"{verdict}: {gate.text}"
    return {key: value for key, value in tags.items() if value}


def artifacts_of(facts: RunFacts) -> Iterator[tuple[Path, str]]:
    """Yields the files of a run that are on this machine, each with its folder in MLflow."""
    record = facts.record
    folder = Path(record.report).parent if record.report else None
    found = [
        (folder and folder / "report.html", "report"),
        (record.metrics and Path(record.metrics), "metrics"),
    ]
    if record.pushed_version and "://" not in record.pushed_version:
        release = Path(record.pushed_version, "release")
        found += [(release / name, "papers") for name in ("model-card.html", "model-card.json")]
        found += [(release.parent / "manifest.json", "papers")]
    for file, where in found:
        if file and Path(file).is_file():
            yield Path(file), where


def register_version(client: MlflowClient, experiment: str, run: Run, facts: RunFacts) -> None:
    """Copies a pushed version into MLflow and registers it, unless that has been done.

    Raises:
        MlflowException: the server refuses something, or is away.
        MasteryError: the model is not on this machine.
    """
    from mlflow.exceptions import MlflowException

    name, version = facts.record.name, facts.version
    with suppress(MlflowException):  # there is one
        client.create_registered_model(name, description="Pushed by Mastery.")
    if str(version) in registered_versions(client, name):
        return
    if facts.model is None:
        raise MasteryError(f"version {version} was not registered: its files are not here")

    model = _finished_model(client, experiment, run, facts)
    client.create_model_version(
        name,
        f"models:/{model.model_id}",
        run.info.run_id,
        tags={VERSION_TAG: str(version), RUN_TAG: facts.record.run},
        description=f"Version {version}, pushed by run {facts.record.run}.",
        model_id=model.model_id,
    )


def registered_versions(client: MlflowClient, name: str) -> dict[str, str]:
    """Returns MLflow's numbers of the versions of a model, by the numbers of the pushed ones."""
    found: dict[str, str] = {}
    token = None
    while True:
        page = client.search_model_versions(f"name = '{name}'", page_token=token)
        for version in page:
            if VERSION_TAG in version.tags:
                found[version.tags[VERSION_TAG]] = str(version.version)
        token = page.token
        if not token:
            return found


def _finished_model(
    client: MlflowClient, experiment: str, run: Run, facts: RunFacts
) -> LoggedModel:
    """Returns the files of a version as MLflow keeps them; those that were cut off are removed."""
    from mlflow.entities import LoggedModelStatus

    wanted = f"tags.`{VERSION_TAG}` = '{facts.version}'"
    for earlier in client.search_logged_models([experiment], wanted):
        if earlier.status == LoggedModelStatus.READY:
            return earlier
        client.delete_logged_model(earlier.model_id)

    model = client.create_logged_model(
        experiment,
        facts.record.name,
        run.info.run_id,
        tags={VERSION_TAG: str(facts.version), RUN_TAG: facts.record.run},
        model_type="mastery",
    )
    with tempfile.TemporaryDirectory() as folder:
        _write_model(Path(folder), run, model, facts)
        client.log_model_artifacts(model.model_id, folder)
    return client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)


def _write_model(folder: Path, run: Run, logged: LoggedModel, facts: RunFacts) -> None:
    """Writes a version as MLflow's flavour for TensorFlow loads it, with its signature."""
    from mlflow.models import Model, ModelSignature
    from mlflow.types import Schema, TensorSpec

    assert facts.model is not None  # the caller has checked

    def schema(tensors: Iterable[Tensor]) -> Schema:
        import numpy as np

        return Schema([TensorSpec(np.dtype(item.kind), item.shape, item.name) for item in tensors])

    inputs, outputs = read_signature(facts.model)
    model = Model(
        artifact_path=logged.name,
        run_id=run.info.run_id,
        model_id=logged.model_id,
        signature=ModelSignature(schema(inputs), schema(outputs)),
        metadata={"version": facts.version, "run": facts.record.run, "signature": SERVING_DEFAULT},
    )
    model.add_flavor(
        "tensorflow", data=_SAVED, model_type="tf2-module", saved_model_dir=_SAVED, code=None
    )
    model.save(str(folder / "MLmodel"))
    shutil.copytree(facts.model, folder / _SAVED)


def tell_labels(client: MlflowClient, name: str, labels: Mapping[str, int | None]) -> list[str]:
    """Gives a registered model the aliases that versions have as labels.

    Args:
        client: of the server.
        name: the model's name.
        labels: numbers of pushed versions by label; None removes the alias.

    Returns:
        What could not be told, in words: a version that is not registered.

    Raises:
        MlflowException: the server refuses something, or is away.
    """
    from mlflow.exceptions import MlflowException

    problems = []
    known = registered_versions(client, name)
    for label, version in labels.items():
        number = known.get(str(version))
        if number is not None:
            client.set_registered_model_alias(name, label, number)
            continue
        if version is not None:
            problems.append(f"version {version}, now {label}, is not registered")
        if known:
            with suppress(MlflowException):  # it has no such alias
                client.delete_registered_model_alias(name, label)
    return problems


def _plain(name: str) -> str:
    return _ODD.sub("_", name)


def _milliseconds(moment: Any) -> int:
    return int(moment.timestamp() * 1000)


def _parts(items: list[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
