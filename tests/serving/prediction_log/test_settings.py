"""Settings of the prediction log are checked before a server starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.errors import MasteryError
from serving.prediction_log.settings import (
    PredictionLogSettings,
    check_prediction_log,
    default_spool,
)
from serving.server.serve import EngineError, choose_engine
from serving.server.server_settings import ServerSettings


def checked(target: str = "log", **options: object) -> None:
    check_prediction_log(PredictionLogSettings(target=target, **options))


def test_usable_settings(tmp_path: Path) -> None:
    checked(str(tmp_path))
    checked("predictions", sample=0.1, days=1)
    checked("postgresql://mastery@127.0.0.1:1/answers", spool=tmp_path)  # nobody is asked yet


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sample": 0.0}, "a share above 0 and at most 1, found 0"),
        ({"sample": 1.5}, "found 1.5"),
        ({"sample": float("nan")}, "found nan"),
        ({"days": 0}, "expected one day or more, found 0"),
        ({"spool": Path("x")}, "a folder has its spool inside"),
        ({"target": "s3://bucket/log"}, "expected sqlite:// or postgresql://, found s3://"),
        ({"target": "postgresql://u:secret@h/d"}, "expected no password"),
        ({"target": __file__}, "expected a folder or a database's address, found the file"),
    ],
)
def test_settings_that_cannot_be_used(options: dict[str, object], message: str) -> None:
    with pytest.raises(MasteryError, match=message) as raised:
        checked(**options)
    assert "secret" not in str(raised.value)


def test_each_database_has_a_spool_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    one, other = (default_spool(f"postgresql://{host}/answers") for host in ("a", "b"))
    assert one != other
    assert one.parent == other.parent == tmp_path / "mastery" / "prediction-log"
    assert default_spool("predictions") == Path("predictions/.spool")


def test_tensorflow_serving_is_refused(tmp_path: Path) -> None:
    settings = ServerSettings(
        models=tmp_path, name="tiny", prediction_log=PredictionLogSettings(target="log")
    )
    for engine in ("container", "binary"):
        with pytest.raises(EngineError, match="TensorFlow Serving has no --prediction-log"):
            choose_engine(engine, settings)
    assert choose_engine("auto", settings).kind == "embedded"
