"""`mastery watch`: what it finds, writes, tells and exits with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import select
from sqlalchemy.orm import Session

from components.contracts.watch_report import WatchReport
from pipeline.watch.prometheus import GAUGES
from serving.answers.database import open_database
from serving.answers.tables import Answer, Message, ModelVersion
from tests.pipeline.cli.typed import mastery
from tests.pipeline.receivers import webhook
from tests.serving.answers.classroom import CLASSES, NOW, fill
from tests.serving.answers.test_quality import add_outcomes
from tests.serving.models.folders import write_version

Capture = pytest.CaptureFixture[str]
Patch = pytest.MonkeyPatch

CONFIG = f"""
name: sample
data: {{events: "log/{{YYYY}}-{{MM}}-{{DD}}.csv", outcomes: outcomes.csv}}
schema: schema.pbtxt
label: {{column: mastery, classes: [{", ".join(CLASSES)}]}}
steps: {{max_steps: 8, features: {{event_type: {{type: categorical}}}}}}
gates: [{{metric: f1_macro, min: 0.5}}]
"""
EVENTS = """learner_id,unit_id,time,event_type
learner-0001,unit-0,{day}T09:00:00Z,video
learner-0002,unit-1,{day}T05:00:00Z,video
"""
ANSWERS = """
channels:
  owners: {kind: file, path: owners.jsonl}
watch: {to: [owners]}
"""


class Watched:
    """A folder with a log, a version in service and a database of answers."""

    def __init__(self, folder: Path, monkeypatch: Patch) -> None:
        self.folder = folder
        self.root = folder / "runs"
        self._monkeypatch = monkeypatch
        self.db = f"{folder}/answers.db"
        self.config("")
        self.deliver("2026-03-01")
        write_version(self.root / "sample" / "serving", 1795328170)
        (folder / "answers.yaml").write_text(ANSWERS, encoding="utf-8")
        engine = open_database(self.db)
        fill(engine, learners=20, units=3)
        engine.dispose()

    def config(self, more: str) -> None:
        (self.folder / "sample.yaml").write_text(f"{CONFIG}{more}", encoding="utf-8")

    def deliver(self, day: str) -> None:
        path = self.folder / "log" / f"{day}.csv"
        path.parent.mkdir(exist_ok=True)
        path.write_text(EVENTS.format(day=day), encoding="utf-8")

    def watch(self, *more: str, now: str = NOW.isoformat(), drift: bool = False) -> int:
        """Runs the command, without drift, which needs the data of a run."""
        without = () if drift else ("--no-drift",)
        return mastery(
            self._monkeypatch, "watch", "--config", str(self.folder / "sample.yaml"), "--root",
            str(self.root), "--db", self.db, "--now", now, *without, *more,
        )  # fmt: skip

    def report(self) -> WatchReport:
        return WatchReport.read(self.root / "sample")


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: Patch) -> Watched:
    return Watched(tmp_path, monkeypatch)


def test_nothing_calls_for_attention(watched: Watched, capsys: Capture) -> None:
    assert watched.watch() == 0
    printed = capsys.readouterr().out
    assert "Version 1795328170: newest, 100% of the requests" in printed
    assert "The newest event is 0.9 days old; newest delivery 2026-03-01" in printed
    assert "cannot see a change of that relation" in " ".join(printed.split())
    assert "Nothing calls for attention." in printed
    report = watched.report()
    assert (report.findings, report.notes) == ([], ["drift was not measured: --no-drift"])
    assert report.quality is not None
    assert report.quality.versions[0].whole.answers == 60


def test_an_old_log_is_a_finding_until_it_is_delivered(watched: Watched, capsys: Capture) -> None:
    later = "2026-03-20T06:00Z"
    assert watched.watch(now=later) == 3
    printed = " ".join(capsys.readouterr().out.split())
    assert "18.9 days old; at most 7 are expected" in printed
    assert [item.kind for item in watched.report().findings] == ["freshness"]
    assert watched.watch("--set", "watch.max_log_age_days=30", now=later) == 0
    watched.deliver("2026-03-19")
    assert watched.watch(now=later) == 0


def test_what_cannot_be_measured_is_a_finding_and_the_rest_is_measured(watched: Watched) -> None:
    (watched.folder / "log" / "2026-03-01.csv").write_text("learner_id\n1\n", encoding="utf-8")
    assert watched.watch(drift=True) == 3  # the version's run is not in the root either
    report = watched.report()
    assert [item.key for item in report.findings] == [
        "freshness was not measured",
        "drift was not measured",
    ]
    assert "2026-03-01.csv" in report.findings[0].text
    assert report.quality is not None


def test_outcomes_against_the_version_in_service_are_a_finding(watched: Watched) -> None:
    engine = open_database(watched.db)
    add_outcomes(engine, worse=True)
    assert watched.watch() == 3
    texts = [item.text for item in watched.report().findings]
    assert len(texts) == 2
    assert texts[0].startswith("Version 1795328170: 0.0% of 60 answers in these weeks were right")
    assert "retrain it on newer outcomes" in texts[1]

    with Session(engine) as session, session.begin():
        session.get_one(ModelVersion, 1).version = 7  # not in service
    assert watched.watch() == 0
    engine.dispose()


def test_unsure_answers_are_below_the_gate_before_any_outcome(watched: Watched) -> None:
    engine = open_database(watched.db)
    with Session(engine) as session, session.begin():
        for answer in session.scalars(select(Answer)):
            answer.probabilities = [0.34, 0.33, 0.33]
    engine.dispose()
    assert watched.watch() == 3
    [finding] = watched.report().findings
    assert finding.key == "f1_macro of 1795328170 below its gate"
    assert "below its gate of 0.5" in finding.text


def test_a_stopped_model_is_a_finding(watched: Watched, monkeypatch: Patch) -> None:
    serving = str(watched.root / "sample" / "serving")
    stop = ("models", "stop", "--all", "--reason", "wrong answers", "--models", serving)
    assert mastery(monkeypatch, *stop) == 0
    assert watched.watch() == 3
    report = watched.report()
    assert report.findings[0].text.startswith("Nothing is in service: all of sample was stopped by")
    assert [(item.label, item.share) for item in report.versions] == [("stopped", None)]


def test_people_are_told_once_of_what_is_new(watched: Watched, capsys: Capture) -> None:
    engine = open_database(watched.db)
    with webhook(200) as chat:
        watched.config(f"notify: {{webhook: {{url: '{chat.url}'}}}}\n")
        answers = ("--answers", str(watched.folder / "answers.yaml"))
        for day in (20, 21):
            assert watched.watch(*answers, now=f"2026-03-{day}T06:00Z") == 3
        [message] = chat.received
    assert message["state"] == "attention"
    assert message["findings"][0].startswith("The newest event of the log is 18.9 days old")
    with Session(engine) as session:
        [queued] = session.scalars(select(Message)).all()
    assert (queued.channel, queued.payload["rule"]) == ("owners", "watch")

    assert mastery_sends(watched) == 0
    [line] = (watched.folder / "owners.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(line)["subject"] == "Mastery, sample: the model calls for attention"
    assert watched.watch(now=NOW.isoformat()) == 0  # delivered in the meantime
    assert watched.report().told == []
    engine.dispose()
    capsys.readouterr()


def mastery_sends(watched: Watched) -> int:
    """Sends what is in the outbox."""
    arguments = ("--db", watched.db, "--answers", str(watched.folder / "answers.yaml"))
    return mastery(watched._monkeypatch, "answers", "send", *arguments)


def test_a_message_that_did_not_arrive_is_sent_the_next_time(
    watched: Watched, monkeypatch: Patch, capsys: Capture
) -> None:
    monkeypatch.setattr("pipeline.run.notify.PAUSES", ())
    with webhook(400, 200) as chat:
        watched.config(f"notify: {{webhook: {{url: '{chat.url}'}}}}\n")
        for _ in range(3):
            assert watched.watch(now="2026-03-20T06:00Z") == 3
        assert len(chat.received) == 2
    assert "notify.webhook: expected an answer 2xx, found 400" in capsys.readouterr().err


def test_metrics_are_what_prometheus_reads(watched: Watched, capsys: Capture) -> None:
    engine = open_database(watched.db)
    add_outcomes(engine)
    engine.dispose()
    path = watched.folder / "mastery.prom"
    watched.watch("--metrics", str(path))
    families = {
        family.name: family.samples
        for family in text_string_to_metric_families(path.read_text(encoding="utf-8"))
    }
    assert set(families) == set(GAUGES)
    [share] = families["mastery_version_share"]
    assert (share.labels["version"], share.labels["label"]) == ("1795328170", "newest")
    whole = {"measure": "accuracy", "class": "", "horizon": "all"}
    for kind in ("expected", "realised"):
        values = [
            sample.value
            for sample in families[f"mastery_quality_{kind}"]
            if whole.items() <= sample.labels.items()
        ]
        report = watched.report().quality
        assert report is not None
        found = report.versions[0].whole.find("accuracy", realised=kind == "realised")
        assert found is not None
        assert values == [pytest.approx(found.value)]

    assert watched.watch("--metrics", str(watched.folder / "mastery.txt")) == 2
    assert "expected a path that ends in .prom" in capsys.readouterr().err


def test_json_is_the_file(watched: Watched, capsys: Capture) -> None:
    watched.watch("--json")
    path = watched.root / "sample" / "watch.json"
    assert capsys.readouterr().out == path.read_text(encoding="utf-8")
    assert not [file for file in path.parent.iterdir() if file.name.startswith(".")]


def test_without_a_database_quality_is_left_out(watched: Watched, monkeypatch: Patch) -> None:
    monkeypatch.delenv("MASTERY_ANSWERS_URL", raising=False)
    arguments = ("--config", str(watched.folder / "sample.yaml"), "--root", str(watched.root))
    code = mastery(monkeypatch, "watch", *arguments, "--no-drift", "--now", NOW.isoformat())
    assert code == 0
    assert watched.report().quality is None
    assert "no database of answers is given" in watched.report().notes[1]
