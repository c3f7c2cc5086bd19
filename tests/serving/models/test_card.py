"""The card of a version, and what has become of the version since it was pushed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from components.command.console import PlainConsole
from components.contracts.evaluation import Result
from components.contracts.papers import Blank, VersionCard, Weakness
from components.errors import MasteryError
from serving.models.card import changed_papers, print_card, read_card, render_card
from serving.models.incidents import record_incident
from serving.models.listing import check_version
from serving.models.promotion import promote, start_canary
from serving.models.stopping import stop
from serving.models.storage import Storage
from serving.models.stores import open_storage
from tests.s3 import Bucket
from tests.serving.models.folders import upload, write_version

PAGE = "<main>as pushed<!-- in service --></main>"
WEAKNESS = Weakness(
    slice={"region": "south"}, examples=90, metric="f1_macro", value=0.8, interval=(0.7, 0.85),
    overall=0.9, beyond_chance=True,
)  # fmt: skip


def write_papers(serving: Path, number: int) -> None:
    """Adds papers to a version, and their digests to its manifest."""
    card = VersionCard(
        name="sample",
        version=number,
        answers="It answers.",
        task="classification",
        classes=["low"],
        confidence=0.95,
        written={"purpose": "Help early.\x1b[31m"},
        blanks=[Blank(key="risks", meaning="what may go wrong")],
        overall=Result(
            examples=1200,
            metrics={"f1_macro": 0.91234},
            intervals={"f1_macro": (0.9, 0.95)},
        ),
        weaknesses=[WEAKNESS],
        limits=["It sees little."],
    )
    folder = serving / str(number)
    (folder / "release").mkdir()
    (folder / "release" / "model-card.json").write_text(card.to_json())
    (folder / "release" / "model-card.html").write_text(PAGE)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["release"] = {
        f"release/{path.name}": hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (folder / "release").iterdir()
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.fixture
def serving(tmp_path: Path) -> Path:
    """Versions 1 and 2 with papers, and 3 without any."""
    folder = tmp_path / "serving"
    for number in (1, 2, 3):
        write_version(folder, number)
    for number in (1, 2):
        write_papers(folder, number)
    return folder


@pytest.fixture(params=["folder", "s3"])
def storage(request: pytest.FixtureRequest, serving: Path) -> Storage:
    if request.param == "folder":
        return open_storage(str(serving))
    bucket: Bucket = request.getfixturevalue("bucket")
    upload(serving, f"s3://{bucket.name}/serving/")
    return open_storage(f"s3://{bucket.name}/serving")


def test_the_card_says_whether_the_version_is_in_service(storage: Storage) -> None:
    assert (
        read_card(storage, 1).state == "No version was promoted yet: servers serve the newest one."
    )
    promote(storage, 1)
    assert read_card(storage, 1).state == "In service as stable."
    assert read_card(storage, 2).state == "Not in service."
    start_canary(storage, 2, 20)
    assert read_card(storage, 2).state == "In service as canary, with 20 % of the requests."
    promote(storage, 2)
    shown = read_card(storage, 1)
    assert (shown.labels, shown.state) == (
        ["previous"],
        "Not in service, but still in the servers' memory.",
    )
    assert shown.page == f"{storage.address}/1/release/model-card.html"


def test_papers_travel_with_a_version_and_are_verified(storage: Storage) -> None:
    assert changed_papers(storage, 1) == []
    assert check_version(storage, 1).problems == ()
    storage.replace("1/release/model-card.html", b"typed by hand")
    changed = "release/model-card.html is not the one that was pushed"
    assert changed_papers(storage, 1) == [changed]
    assert read_card(storage, 1).problems == [changed]
    assert check_version(storage, 1).problems == (
        "its files are not those that were pushed: changed: release/model-card.html",
    )


def test_a_missing_paper_is_named(serving: Path) -> None:
    (serving / "1" / "release" / "model-card.html").unlink()
    storage = open_storage(str(serving))
    assert changed_papers(storage, 1) == ["release/model-card.html is missing"]
    with pytest.raises(MasteryError, match=r"release/model-card.html: expected the papers"):
        render_card(storage, read_card(storage, 1))


def test_a_version_of_before_has_no_card(storage: Storage) -> None:
    with pytest.raises(MasteryError, match="pushed by an earlier version of Mastery"):
        read_card(storage, 3)
    assert changed_papers(storage, 3) == []
    assert check_version(storage, 3).problems == ()


def test_the_page_has_the_state_beside_what_was_pushed(serving: Path) -> None:
    storage = open_storage(str(serving))
    promote(storage, 1)
    page = render_card(storage, read_card(storage, 1))
    assert page.startswith("<main>as pushed<aside")
    assert "In service as stable." in page
    assert "No incidents are recorded." in page


def test_incidents_and_stops_come_after_the_push(
    storage: Storage, capsys: pytest.CaptureFixture[str]
) -> None:
    promote(storage, 1)
    record_incident(storage, 1, "Warned <b>all</b> of group 7.\nTwice.", "serious")
    stop(storage, 1, reason="wrong answers")
    shown = read_card(storage, 1)
    assert shown.state.startswith("Out of service: version 1 of sample was stopped by ")
    assert shown.state.endswith(": wrong answers.")
    [incident] = shown.incidents
    assert "serious, recorded by " in incident
    assert read_card(storage, 2).incidents == []

    page = render_card(storage, shown)
    assert "Warned &lt;b&gt;all&lt;/b&gt; of group 7." in page
    assert 'class="service incidents"' in page
    print_card(shown, PlainConsole(width=100))
    [line] = [row for row in capsys.readouterr().out.splitlines() if "recorded by" in row]
    assert line.startswith("Incidents ")


def test_a_card_fits_a_terminal(serving: Path, capsys: pytest.CaptureFixture[str]) -> None:
    print_card(read_card(open_storage(str(serving)), 1), PlainConsole(width=100))
    printed = capsys.readouterr().out
    assert printed.startswith("sample 1\nNo version was promoted yet")
    assert "Purpose       Help early.\\u001b[31m\n" in printed
    assert "Macro F1      0.912 (95% interval 0.900 to 0.950), judged on 1,200" in printed
    assert "region=south: macro F1 0.800 (0.700 to 0.850), for all 0.900\n" in printed
    assert "1 blank left for the provider: risks\n" in printed
    assert "Incidents     none recorded\n" in printed
