"""Writes what people said about answers for the next training: as outcomes, or as a table to join.

An outcome says which class is true; so only what users *said* is true becomes one. A call is none:
who called because of an answer has not confirmed it, and a model that is trained with its own
answers as labels only learns to repeat them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import polars as pl
from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from components.contracts.names import AS_OF, FOLD, LEARNER, UNIT
from components.errors import MasteryError
from components.event_log.known_outcomes import read_known_outcomes
from components.event_log.problems import describe
from components.files.atomic import new_file
from components.files.spreadsheet import for_spreadsheet
from serving.answers.tables import Action, ModelVersion, Outcome

if TYPE_CHECKING:
    from components.config import Config

Form = Literal["outcomes", "table"]

LABEL = "label"
KEYS = (LEARNER, UNIT, AS_OF)
_MOMENT = pl.Datetime("us", "UTC")
_Schema = dict[str, pl.DataType | type[pl.DataType]]
_STATEMENTS: _Schema = {LEARNER: pl.String, UNIT: pl.String, AS_OF: _MOMENT, LABEL: pl.String}
_TABLE: _Schema = {
    LEARNER: pl.String,
    UNIT: pl.String,
    AS_OF: _MOMENT,
    "model": pl.String,
    "version": pl.Int64,
    "predicted_class": pl.String,
    "kind": pl.String,
    LABEL: pl.String,
    "note": pl.String,
    "user": pl.String,
    "at": _MOMENT,
    "snooze_until": _MOMENT,
}


@dataclass(frozen=True)
class Exported:
    """What was written, and what was left out.

    Attributes:
        rows: in the file.
        superseded: statements that the same user replaced by a later one about the same answer.
        disputed: answers about which users say different classes.
        known: statements whose learner, unit and moment have an outcome already.
        unplaced: statements for which a column that training reads could not be found.
        missing: these columns.
        example: one answer that is disputed.
    """

    out: Path
    form: Form
    rows: int
    superseded: int = 0
    disputed: int = 0
    known: int = 0
    unplaced: int = 0
    missing: Sequence[str] = field(default=())
    example: str = ""

    def describe(self) -> str:
        """Returns a line about what was written, and one per reason to leave something out."""
        what = "outcomes" if self.form == "outcomes" else "actions"
        lines = [f"{self.rows:,} {what} written to {self.out}."]
        if self.superseded:
            lines.append(
                f"{self.superseded:,} left out: the same user said something later about the same "
                "answer."
            )
        if self.disputed:
            lines.append(
                f"{self.disputed:,} answers left out: users disagree on what is true, as about "
                f"{self.example}."
            )
        if self.known:
            lines.append(
                f"{self.known:,} left out: there is an outcome of the same learner, unit and "
                "as_of already, which counts."
            )
        if self.unplaced:
            columns = ", ".join(self.missing)
            lines.append(
                f"{self.unplaced:,} left out: training also reads {columns}, and earlier outcomes "
                "of the learner or the unit do not agree on a value."
            )
        return "\n".join(lines)


def export_feedback(
    engine: Engine,
    out: Path,
    *,
    form: Form = "outcomes",
    model: str | None = None,
    config: Config | None = None,
) -> Exported:
    """Writes a file of feedback.

    Args:
        engine: the answers' database.
        out: a `.csv` or `.parquet` file, which is replaced as a whole.
        form: `outcomes` that training reads like those of the log; or a `table` of every action.
        model: whose answers it is about; None if there is only one.
        config: of the training that shall read the outcomes. The file gets the names of its
            columns, the values of further columns from earlier outcomes, and no outcome that the
            log has already.

    Raises:
        MasteryError: the database has feedback on several models or not on this one, the file's
            name has another ending, or the outcomes do not fit the configuration.
    """
    if out.suffix not in (".csv", ".parquet"):
        raise MasteryError(f"--out {out}: expected a name that ends in .csv or .parquet.")

    with Session(engine) as session:
        versions = _versions(session, model)
        if form == "table":
            table = _actions(session, versions)
            _write(for_spreadsheet(table) if out.suffix == ".csv" else table, out)
            return Exported(out, form, table.height)
        said, result = _statements(session, versions, Exported(out, form, 0))

    if config is not None:
        said, result = _for_training(said, result, config)
    _write_outcomes(said, out)
    return replace(result, rows=said.height)


def _versions(session: Session, model: str | None) -> dict[int, tuple[str, int]]:
    """Returns name and number of each version of the model, by id."""
    found = session.execute(select(ModelVersion.id, ModelVersion.model, ModelVersion.version))
    versions = {number: (name, version) for number, name, version in found}
    names = {name for name, _ in versions.values()}
    if model is not None and model not in names:
        known = ", ".join(sorted(names)) or "none"
        raise MasteryError(f"--model {model}: expected one that has answered ({known}).")

    if model is None:
        acted = session.scalars(select(Action.version_id).distinct())
        acted_on = sorted({versions[number][0] for number in acted})
        if len(acted_on) > 1:
            raise MasteryError(
                f"There is feedback on several models ({', '.join(acted_on)}); choose one by "
                "--model."
            )
        model = acted_on[0] if acted_on else None
    return {number: named for number, named in versions.items() if named[0] == model}


def _actions(session: Session, versions: dict[int, tuple[str, int]]) -> pl.DataFrame:
    actions = select(Action).where(Action.version_id.in_(versions)).order_by(Action.at, Action.id)
    rows = [
        (action.learner_id, action.unit_id, action.as_of, *versions[action.version_id],
         action.predicted_class, action.kind, action.label, action.note, action.user, action.at,
         action.snooze_until)
        for action in session.scalars(actions)
    ]  # fmt: skip
    return pl.DataFrame(rows, schema=_TABLE, orient="row")


def _statements(
    session: Session, versions: dict[int, tuple[str, int]], result: Exported
) -> tuple[pl.DataFrame, Exported]:
    """Returns what users said is true, one row per learner, unit and moment."""
    key = (Action.learner_id, Action.unit_id, Action.as_of)
    place = func.row_number().over(
        partition_by=(*key, Action.user), order_by=(Action.at.desc(), Action.id.desc())
    )
    known = (
        select(Outcome.learner_id)
        .where(
            Outcome.learner_id == Action.learner_id,
            Outcome.unit_id == Action.unit_id,
            Outcome.as_of == Action.as_of,
        )
        .exists()
    )
    said = select(*key, Action.label, place, known).where(
        Action.version_id.in_(versions), Action.label.is_not(None)
    )
    rows = pl.DataFrame(
        [tuple(row) for row in session.execute(said)],
        schema={**_STATEMENTS, "place": pl.Int64, "known": pl.Boolean},
        orient="row",
    )

    newest = rows.filter(pl.col("place") == 1)
    labels = newest.group_by(KEYS).agg(
        pl.col(LABEL).first(), pl.col(LABEL).n_unique().alias("labels"), pl.col("known").any()
    )
    disputed = labels.filter(pl.col("labels") > 1).sort(KEYS)
    agreed = labels.filter(pl.col("labels") == 1)
    unknown = agreed.filter(~pl.col("known")).select(*_STATEMENTS).sort(KEYS)
    counted = replace(
        result,
        superseded=rows.height - newest.height,
        disputed=disputed.height,
        known=agreed.height - unknown.height,
        example=_describe(disputed.row(0)) if disputed.height else "",
    )
    return unknown, counted


def _describe(row: tuple[object, ...]) -> str:
    learner, unit, as_of = row[:3]
    return f"learner {describe(learner)}, unit {describe(unit)}, as_of {as_of}"


# For a configuration.


def _for_training(
    said: pl.DataFrame, result: Exported, config: Config
) -> tuple[pl.DataFrame, Exported]:
    """Returns the statements as outcomes that the configuration's training reads."""
    _check_labels(said, config)
    data = config.data
    earlier = read_known_outcomes(config, keys_only=False)

    new = said.join(earlier, on=KEYS, how="anti", maintain_order="left")
    columns = [name for name in earlier.columns if name not in (*KEYS, config.label.column)]
    filled = _fill(new, earlier, columns)
    placed = filled.drop_nulls([_found(name) for name in columns])
    missing = [name for name in columns if filled[_found(name)].has_nulls()]
    names = {
        LEARNER: data.columns.learner_id,
        UNIT: data.columns.unit_id,
        AS_OF: data.columns.as_of,
        LABEL: config.label.column,
        FOLD: data.splits.column or FOLD,
    }
    outcomes = placed.select(*KEYS, LABEL, *columns).rename(names, strict=False)
    return outcomes, replace(
        result,
        known=result.known + said.height - new.height,
        unplaced=new.height - placed.height,
        missing=[names.get(name, name) for name in missing],
    )


def _check_labels(said: pl.DataFrame, config: Config) -> None:
    if config.label.task == "regression":
        raise MasteryError(
            "label.task: this model predicts a number, and people only say which class is true; "
            "use --as table."
        )
    others = sorted(set(said[LABEL]) - set(config.label.classes))
    if others:
        raise MasteryError(
            f"label.classes: expected those that people chose from, found none called "
            f"{describe(others[0])}. Is it the configuration of another model?"
        )


def _found(name: str) -> str:
    return f"_found_{name}"


def _fill(rows: pl.DataFrame, earlier: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    """Returns the rows with further columns, and whether a value was found for each.

    A value is one on which all earlier outcomes agree: those of the learner in the unit, else those
    of the learner, else those of the unit.
    """
    for name in columns:
        values, found = [], []
        for place, keys in enumerate(((LEARNER, UNIT), (LEARNER,), (UNIT,))):
            value, seen = f"_value_{place}", f"_seen_{place}"
            agreed = earlier.group_by(keys).agg(
                pl.col(name).first().alias(value), (pl.col(name).n_unique() == 1).alias(seen)
            )
            agreed = agreed.filter(pl.col(seen))
            rows = rows.join(agreed, on=keys, how="left", maintain_order="left")
            values.append(pl.when(pl.col(seen)).then(pl.col(value)))
            found.append(pl.col(seen))
        chosen = pl.when(found[0]).then(values[0]).when(found[1]).then(values[1])
        rows = rows.with_columns(
            chosen.otherwise(values[2]).alias(name), pl.coalesce(found).alias(_found(name))
        ).drop("^_(value|seen)_[012]$")
    return rows


# Files.


def _write_outcomes(said: pl.DataFrame, out: Path) -> None:
    if out.suffix == ".csv":
        harmless = for_spreadsheet(said)
        for name in said.select(pl.selectors.string()).columns:
            changed = said[name].filter(said[name].ne_missing(harmless[name]))
            if len(changed):
                raise MasteryError(
                    f"--out {out}: the {name} {describe(changed[0])} would run as a formula if the "
                    "file were opened as a spreadsheet; write a .parquet file."
                )
    _write(said, out)


def _write(table: pl.DataFrame, out: Path) -> None:
    with new_file(out) as beside:
        if out.suffix == ".parquet":
            table.write_parquet(beside)
            return
        moments = [name for name, dtype in table.schema.items() if dtype == _MOMENT]
        table.with_columns(
            pl.col(name).dt.strftime("%Y-%m-%dT%H:%M:%S%.fZ") for name in moments
        ).write_csv(beside)
