"""What `mastery init` asks, refuses and leaves behind."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from components.config import load_config
from components.errors import LogError
from pipeline.cli import init_commands
from pipeline.proposal import write
from tests.pipeline.cli.typed import mastery
from tests.pipeline.proposal.foreign import write_answers, write_clicks

pytestmark = pytest.mark.usefixtures("no_schema")


@pytest.fixture
def tutor(tmp_path: Path) -> Path:
    """A folder with one log."""
    write_answers(tmp_path / "tutor", learners=120)
    return tmp_path / "tutor"


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*"))


class Typed:
    """Answers questions as they come, and remembers them."""

    def __init__(self, *answers: str) -> None:
        self.answers = [*answers]
        self.asked: list[tuple[str, str]] = []

    def ask(self, question: str, default: str, choices: tuple[str, ...] = ()) -> str:
        if len(choices) == 1:
            return default
        self.asked.append((question.split("?")[0], default))
        return self.answers.pop(0) or default


def test_few_questions_are_asked_with_their_defaults(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tutor: Path
) -> None:
    typed = Typed(str(tutor), "inactivity", "algebra")
    monkeypatch.setattr(init_commands, "_asker", lambda _: typed)
    monkeypatch.chdir(tmp_path)
    assert mastery(monkeypatch, "init") == 0
    assert typed.asked == [
        ("Where is the log (a file, a folder or a pattern)", ""),
        ("What is predicted", "next_answers"),
        ("What shall the model be called", "problem-logs"),
    ]
    config = load_config(tmp_path / "algebra.yaml")
    assert config.name == "algebra"
    assert config.data.derived is not None
    assert config.data.derived.derive == "inactivity"


def test_nobody_is_asked_without_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert mastery(monkeypatch, "init") == 2
    assert "Expected the path of a log, found none" in capsys.readouterr().err


def test_an_existing_file_is_kept_without_force(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    tutor: Path,
) -> None:
    out = tmp_path / "mine.yaml"
    out.write_text("name: mine\n")
    arguments = ["init", str(tutor), "--yes", "--out", str(out)]
    assert mastery(monkeypatch, *arguments) == 2
    assert "already exists" in capsys.readouterr().err
    assert out.read_text() == "name: mine\n"
    assert mastery(monkeypatch, *arguments, "--force") == 0
    assert load_config(out).name == "problem-logs"


@pytest.mark.parametrize(
    "step", ["components.event_log.log.check_log", "pipeline.proposal.write.schema_text"]
)
def test_an_interruption_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tutor: Path, step: str
) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(step, interrupted)
    out = tmp_path / "out" / "log.yaml"
    assert mastery(monkeypatch, "init", str(tutor), "--yes", "--out", str(out)) == 130
    assert not out.parent.exists() or files_in(out.parent) == []


def test_problems_of_the_log_are_shown_and_the_proposal_stays(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    tutor: Path,
) -> None:
    file = tutor / "problem_logs.csv"
    lines = file.read_text().splitlines()
    lines[9] = lines[9].replace(lines[9].split(",")[5], "yesterday")
    file.write_text("\n".join(lines) + "\n")
    out = tmp_path / "log.yaml"
    assert (
        mastery(monkeypatch, "init", str(tutor), "--yes", "--out", str(out)) == LogError.exit_code
    )
    assert f"{file}, line 10, column start_time" in capsys.readouterr().err
    assert load_config(out).data.columns.time == "start_time"
    assert not (tmp_path / "log.pbtxt").exists()


def test_the_proposal_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write_clicks(tmp_path / "clicks", learners=200)
    out = tmp_path / "log.yaml"
    assert mastery(monkeypatch, "init", str(tmp_path / "clicks"), "--yes", "--out", str(out)) == 0
    text = out.read_text()
    assert "learner_id: id_student  # named so; 200 different" in text
    assert "# outcomes: {derive: inactivity" in text
    assert "raise them to" in " ".join(text.split("# "))
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("", "empty (0 bytes)"),
        ("learner,course\na,b\na,c\n", "expected a column of times"),
        ("time,course\n2024-05-01,b\n2024-05-02,c\n", "expected a column of ids of learners"),
        (
            "user_id,course,time\n" + "".join(f"u1,b,2024-05-{day:02}\n" for day in range(1, 30)),
            "expected events of several learners, found one (u1)",
        ),
        (
            "user_id,course,time\n" + "".join(f"u{row},b,2024-05-01\n" for row in range(99)) * 2,
            "Expected an outcome that can be derived",
        ),
    ],
)
def test_what_cannot_be_proposed_from_is_one_clear_error(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    content: str,
    error: str,
) -> None:
    (tmp_path / "log.csv").write_text(content)
    out = tmp_path / "out.yaml"
    assert mastery(monkeypatch, "init", str(tmp_path / "log.csv"), "--yes", "--out", str(out)) == 2
    printed = capsys.readouterr().err
    assert error in printed
    assert "Traceback" not in printed
    assert files_in(tmp_path) == ["log.csv"]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["nowhere"], "expected a file or folder"),
        (["log.txt"], "expected Parquet"),
        (["log.csv", "--format", "moodel"], "did you mean moodle?"),
        (["log.csv", "--outcome", "luck"], "--outcome: expected one of grade"),
        (["log.csv", "--learner", "pupil"], "expected a column 'pupil'"),
        (["log.csv", "--name", "My log"], "--name: expected lower-case letters"),
        (["log.csv", "--timezone", "Mars"], "--timezone: expected a time zone"),
    ],
)
def test_wrong_arguments_are_explained(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    arguments: list[str],
    error: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    pl.DataFrame({"user_id": ["a", "b"], "time": [1, 2]}).write_csv("log.csv")
    Path("log.txt").write_text("a b c")
    assert mastery(monkeypatch, "init", *arguments, "--yes") == 2
    assert error in capsys.readouterr().err
    assert files_in(tmp_path) == ["log.csv", "log.txt"]


def test_a_schema_keeps_what_was_seen_as_comments(tmp_path: Path, tutor: Path) -> None:
    from pipeline.proposal.session import Wishes, make_proposal

    wishes = Wishes(events=(str(tutor),), out=tmp_path / "log.yaml")
    proposal, _ = make_proposal(wishes, init_commands._Silent(), lambda _: None)
    schema = 'feature {\n  name: "correct"\n  type: FLOAT\n}\n'
    assert "# 0 to 1, half below 1\nfeature {\n" in write.with_comments(schema, proposal)
