"""Audits a configuration on its log: do examples show anything of what is predicted?

It takes nothing on trust. It runs ExampleGen on the log and on altered copies of it, and compares
what comes out. Three things have to hold:

1. No learner (no unit, where units are held out) is in two splits, and each outcome is in one.
2. An outcome sees nothing from its `as_of` on, and no label.
3. On shuffled labels a model finds nothing, and on true ones it does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import polars as pl

from components.contracts.contract import Part
from components.contracts.names import AS_OF, LEARNER, SPLIT, UNIT
from components.errors import MasteryError
from components.event_log.log_spec import LogSpec
from components.event_log.problems import describe
from pipeline.audit.examples import CONTENT, KEYS, MakeExamples, make_examples
from pipeline.audit.log import Log, files_of
from pipeline.audit.probe import ProbeTable, Shuffles, score_probe, score_shuffles, shuffle

if TYPE_CHECKING:
    from components.config.root import Config

TOLERANCE = 0.01  # of the mean AUC on shuffled labels
MOST_SHUFFLES = 3000
TOO_GOOD = 0.995  # AUC that no real log allows
_DEVIATIONS = 3  # beyond which a difference is no chance
_BLUNT = 0.2  # AUC above .5 that chance may reach before a log is too small to tell
_OTHER = "_other"


class Finding(Part):
    """One thing that was looked at.

    Attributes:
        name: what it is.
        passed: whether all is well.
        text: what was found, in a sentence.
    """

    name: str
    passed: bool
    text: str


def audit(config: Config, *, rounds: int, make: MakeExamples = make_examples) -> Iterator[Finding]:
    """Yields findings as they are made, the quick ones first.

    Args:
        config: what `mastery run` would run; nothing is written.
        rounds: for how many outcomes of a sequence the future is altered.
        make: makes the examples of a log.

    Raises:
        LogError: the log cannot be used.
        MasteryError: there are no rounds.
    """
    if rounds < 1:
        raise MasteryError(f"--rounds {rounds}: expected at least 1.")
    spec = LogSpec.of(config)
    files = files_of(config)
    examples = make(files, spec)
    log = Log.read(files, spec)
    if spec.sample_learners is not None:
        log = log.of_learners(examples[LEARNER])
    auditor = _Auditor(log, examples, make)

    yield auditor.check_splits()
    auditor.require_same_when_written()
    yield auditor.check_labels()
    yield from auditor.check_time(rounds)
    yield from auditor.check_shuffles()


@dataclass(frozen=True)
class _Auditor:
    """A log with its examples.

    Attributes:
        log: as it is read.
        examples: one row per outcome.
        make: makes the examples of a log.
    """

    log: Log
    examples: pl.DataFrame
    make: MakeExamples

    def require_same_when_written(self) -> None:
        """Checks that the log gives the same examples from the audit's own files.

        Raises:
            MasteryError: it does not, so an altered copy would prove nothing.
        """
        made = self._make(self.log)
        changed, _ = self._compare(made)
        if changed.height or made.height != self.examples.height:
            found = _some(changed) if changed.height else f"{made.height:,} in all"
            raise MasteryError(
                f"{self.examples.height:,} examples were expected to stay the same after the log "
                f"was read and written again, found others: {found}. This is a bug of Mastery; "
                "please report it."
            )

    def check_splits(self) -> Finding:
        """Looks for what is in two splits."""
        held_out = UNIT if self.log.spec.splits.by == "unit" else LEARNER
        splits = self.examples.group_by(held_out).agg(pl.col(SPLIT).n_unique())
        twice = splits.filter(pl.col(SPLIT) > 1)[held_out].sort()
        repeated = self.examples.filter(pl.struct(KEYS).is_duplicated())
        lost = self.log.outcomes.height - self.examples.select(KEYS).n_unique()

        name = f"no {self.log.spec.splits.by} in two splits"
        if len(twice):
            text = f"{len(twice):,} are in two splits, such as {describe(twice[0])}."
        elif repeated.height:
            text = f"Outcomes have several examples: {_some(repeated)}."
        elif lost:
            text = f"{lost:,} outcomes have no example."
        else:
            text = f"{splits.height:,}, each in one; {self.examples.height:,} outcomes, each once."
        return Finding(name=name, passed=not (len(twice) or repeated.height or lost), text=text)

    def check_labels(self) -> Finding:
        """Changes every label, and looks for anything else that changes."""
        label = self.log.spec.label
        column = self.log.outcomes[label.column]
        if label.classes:
            others = column.replace_strict(label.classes, [*label.classes[1:], label.classes[0]])
        else:
            others = column + 1
        made = self._make(self.log.with_labels(others))

        rest = [name for name in made.columns if name not in (label.column, CONTENT)]
        before, after = (table.sort(KEYS).select(rest) for table in (self.examples, made))
        shown = [name for name in rest if not before[name].equals(after[name])]
        name = "labels show in the label alone"
        if shown:
            text = f"With other labels, examples have another {', '.join(shown)}."
            return Finding(name=name, passed=False, text=text)
        changed, _ = self._compare(made)
        text = f"{changed.height:,} labels were changed, and nothing else did."
        return Finding(name=name, passed=changed.height == made.height, text=text)

    def check_time(self, rounds: int) -> Iterator[Finding]:
        """Changes what happens from each `as_of` on, and then what happens before."""
        asked, seen, blind = 0, [], []
        for round_ in self.log.rounds(rounds):
            changed, same = self._compare(self._make(round_.with_other_future()), round_.asked)
            seen.append(changed)
            asked += changed.height + same.height
            _, same = self._compare(self._make(round_.with_step_before()), round_.asked)
            blind.append(same)

        of_all = f"{asked:,} of {self.log.outcomes.height:,} outcomes"
        seen_by, blind_to = pl.concat(seen), pl.concat(blind)
        if seen_by.height:
            text = f"Of {of_all}, these see events at or after their as_of: {_some(seen_by)}."
        else:
            text = f"{of_all}: events at and after as_of were changed, moved and added; no example "
            text += "changed by a byte."
        yield Finding(name="nothing from as_of on is seen", passed=not seen_by.height, text=text)

        if blind_to.height:
            text = f"Of {of_all}, these do not see an event just before as_of: {_some(blind_to)}."
        else:
            text = (
                f"{of_all}: the next event was moved to just before as_of; every example changed."
            )
        yield Finding(name="an event before as_of is seen", passed=not blind_to.height, text=text)

    def check_shuffles(self) -> Iterator[Finding]:
        """Fits a probe to labels that were shuffled among learners (or units), and to true ones."""
        table = ProbeTable.of(self.examples, self.log.spec)
        # One shuffle is of the log itself: examples may show labels by other columns.
        shuffled = self._shuffled(table)
        first = score_probe(shuffled, shuffled.labels)
        error = TOLERANCE / _DEVIATIONS
        shuffles = score_shuffles(table, first, error, MOST_SHUFFLES)
        yield _judge_shuffles(shuffles)
        yield _judge_truth(score_probe(table, table.labels), shuffles)

    def _shuffled(self, table: ProbeTable) -> ProbeTable:
        """Returns the probe's table of a log whose labels are shuffled."""
        label = self.log.spec.label.column
        source = shuffle(table.owners, seed=0)
        drawn = self.examples.select(*KEYS, self.examples[label][source].alias(_OTHER))
        labels = _keys(self.log.outcomes).join(drawn, on=KEYS, how="left", maintain_order="left")
        return ProbeTable.of(self._make(self.log.with_labels(labels[_OTHER])), self.log.spec)

    def _make(self, log: Log) -> pl.DataFrame:
        with TemporaryDirectory(prefix="mastery-audit-") as folder:
            spec = log.written_spec
            return self.make(log.write(Path(folder)), spec, whole=False)

    def _compare(
        self, made: pl.DataFrame, asked: pl.DataFrame | None = None
    ) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Returns the keys of outcomes whose examples differ, or are not there; and of the others.

        Args:
            made: other examples.
            asked: the outcomes that are compared; all by default.
        """
        keys = _keys(self.log.outcomes if asked is None else asked)
        before = self.examples.select(*KEYS, CONTENT)
        after = made.select(*KEYS, pl.col(CONTENT).alias(_OTHER))
        both = keys.join(before, on=KEYS, how="left").join(after, on=KEYS, how="left")
        same = pl.col(CONTENT).eq(pl.col(_OTHER)).fill_null(value=False)
        return both.filter(~same).select(KEYS), both.filter(same).select(KEYS)


def _keys(outcomes: pl.DataFrame) -> pl.DataFrame:
    """Returns the keys of outcomes as examples hold them: timestamps are whole microseconds."""
    as_of = pl.col(AS_OF)
    exact = as_of.cast(pl.Float32) if outcomes.schema[AS_OF].is_float() else as_of.to_physical()
    return outcomes.select(LEARNER, UNIT, exact)


def _some(keys: pl.DataFrame) -> str:
    """Returns how many outcomes there are, and the first of them."""
    learner, unit, as_of = keys.select(KEYS).sort(KEYS).row(0)
    one = f"learner {describe(learner)}, unit {describe(unit)}, as_of {as_of}"
    return f"{keys.height:,}, such as {one}"


def _judge_shuffles(shuffles: Shuffles) -> Finding:
    text = (
        f"AUC {shuffles.mean:.4f} on average over {len(shuffles.scores)} shuffles, standard error "
        f"{shuffles.error:.4f}; expected 0.5 within {TOLERANCE}."
    )
    passed = abs(shuffles.mean - 0.5) <= TOLERANCE
    first, *others = shuffles.scores
    if abs(first - 0.5) > max(TOLERANCE, _DEVIATIONS * Shuffles(others).deviation):
        passed = False
        text += f" {first:.4f} where the labels of the log itself were shuffled."
    return Finding(name="shuffled labels cannot be found", passed=passed, text=text)


def _judge_truth(score: float, shuffles: Shuffles) -> Finding:
    name = "true labels can be found"
    chance = _DEVIATIONS * shuffles.deviation
    if score >= TOO_GOOD:
        text = f"AUC {score:.4f} is too good: something in the examples shows the label."
        return Finding(name=name, passed=False, text=text)
    text = f"AUC {score:.4f}, where chance reaches {0.5 + chance:.4f}."
    if score > 0.5 + chance:
        return Finding(name=name, passed=True, text=text)
    if chance > _BLUNT:
        return Finding(name=name, passed=True, text=f"{text} The test split is too small to tell.")
    text += " Either steps and context say nothing of the label, or the audit is blind."
    return Finding(name=name, passed=False, text=text)
