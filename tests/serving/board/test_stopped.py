"""The notice that a model was stopped, on every page, and the incidents of a version."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Engine, select, update

import serving.board.stopped as stopped
from serving.answers.tables import ModelVersion
from serving.models.incidents import record_incident
from serving.models.stopping import resume, stop
from serving.models.storage import Storage
from serving.models.stores import open_storage
from tests.serving.answers.classroom import NOW
from tests.serving.board.pages_of import Pages, pages_of, text_of
from tests.serving.board.running import RunningBoard
from tests.serving.models.folders import write_version

NOTICE = "//p[contains(@class, 'stopped')]"


@pytest.fixture
def storage(database: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Storage:
    """The serving folder of the version that answered; pages read its state each time."""
    monkeypatch.setattr(stopped, "SECONDS", 0.0)
    serving = tmp_path / "serving"
    with database.begin() as connection:
        number = connection.scalar(select(ModelVersion.version))
        write_version(serving, number)
        card = serving / str(number) / "assets.extra" / "mastery.json"
        connection.execute(update(ModelVersion).values(card=str(card)))
    return open_storage(str(serving))


def notices(pages: Pages, address: str, language: str = "en") -> list[str]:
    return [text_of(found) for found in pages.get(address, language).xpath(NOTICE)]


@pytest.mark.parametrize(
    ("user", "addresses"),
    [("ada", ["/worklist", "/map"]), ("max", ["/groups", "/versions", "/versions/1"])],
)
def test_every_page_says_who_stopped_the_model(
    database: Engine, storage: Storage, user: str, addresses: list[str]
) -> None:
    (version,) = storage.versions()
    with pages_of(database, user) as pages:
        assert all(notices(pages, address) == [] for address in addresses)
        entry = stop(storage, version, "wrong <b>answers</b>")
        assert entry is not None
        for address in addresses:
            (notice,) = notices(pages, address)
            assert notice.startswith(f"Version {version} of the model sample was stopped on ")
            assert f"by {entry.who}: wrong <b>answers</b>." in notice
        assert "angehalten" in notices(pages, addresses[0], "de")[0]
        resume(storage, None)
        stop(storage, None, "all of it")
        assert notices(pages, addresses[0])[0].startswith("The model sample was stopped on ")
        resume(storage, None)
        assert notices(pages, addresses[0]) == []


def test_nobody_is_told_before_logging_in(
    board: RunningBoard, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = stopped.StoppedModel("sample", None, "ana@vm", NOW, "a secret reason")
    monkeypatch.setattr(stopped.StoppedModels, "find", lambda _: [found])
    for user, is_told in ((None, False), ("max", True)):
        with board.client(user) as client:
            page = client.get("/versions", follow_redirects=True)
        assert ("a secret reason" in page.text) == is_told


def test_a_versions_page_counts_its_incidents(database: Engine, storage: Storage) -> None:
    (version,) = storage.versions()
    with pages_of(database, "max") as pages:
        assert "Incidents" not in text_of(pages.get("/versions/1"))
        for text in ("first", "second"):
            record_incident(storage, version, text, "serious")
        facts = pages.get("/versions/1").xpath("//dl[@class='facts'][1]/div")
        assert "Incidents2 second" in [text_of(fact) for fact in facts]


@pytest.mark.parametrize(
    "card", [None, "", "/", "/card.json", "a/b/c", "/no/such/1/x/card", "s3://b/c/d/e/f"]
)
def test_a_board_without_the_serving_folder_says_nothing(card: str | None) -> None:
    assert stopped.storage_of(card) is None
