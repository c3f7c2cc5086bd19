"""Fetching from record stores: every statement once, and the password goes to one host only."""

from __future__ import annotations

import contextlib
import gzip
import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.config import Config
from components.config.fetch import DAY, Fetch, FetchFolder, fetch_folder
from components.contracts.left_out import LeftOutList
from components.event_log.log import read_files
from components.event_log.log_spec import LogSpec
from components.event_log.sources import find_files
from components.event_log.tables import events_table
from components.platforms.fetch import record_store, statements
from components.platforms.fetch.fetch import fetch_events
from components.platforms.fetch.progress import FetchError, FetchProgress
from tests import ralph as ralphs
from tests.record_store import PASSWORD, USER, Fault, Store, serve_store


@pytest.fixture(scope="module")
def server() -> Iterator[Store]:
    with serve_store() as store:
        yield store


@pytest.fixture
def store(server: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("LRS_USER", USER)
    monkeypatch.setenv("LRS_PASSWORD", PASSWORD)
    for name, value in vars(Store(server.port)).items():
        setattr(server, name, value)
    return server


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    taken: list[float] = []
    monkeypatch.setattr(record_store.time, "sleep", taken.append)
    return taken


def data(folder: Path, url: str, **fetch: Any) -> tuple[Fetch, FetchFolder]:
    given = {
        "statements": url,
        "user_env": "LRS_USER",
        "password_env": "LRS_PASSWORD",
        "overlap_seconds": 120,
    }
    return Fetch(**{**given, **fetch}), fetch_folder(str(folder))


def fetched(folder: Path, store: Store, **fetch: Any) -> list[int]:
    """Fetches, and returns the numbers of all statements in files."""
    [*fetch_events(*data(folder, store.url, **fetch))]
    return numbers_in(folder)


def numbers_in(folder: Path) -> list[int]:
    return sorted(UUID(item["id"]).int for item in statements_in(folder))


def statements_in(folder: Path) -> list[dict[str, Any]]:
    return [
        json.loads(line)
        for file in sorted(folder.rglob("*.jsonl.gz"))
        for line in gzip.decompress(file.read_bytes()).decode().splitlines()
    ]


@pytest.mark.parametrize("relative", [True, False])
def test_all_pages(store: Store, tmp_path: Path, relative: bool) -> None:
    store.relative = relative
    store.add(*range(10))
    assert fetched(tmp_path, store) == [*range(10)]
    assert len(store.requests) == 3
    assert statements_in(tmp_path) == store.statements  # unchanged, in their order
    assert {headers["X-Experience-API-Version"] for _, headers in store.requests} == {"1.0.3"}


def test_the_version_that_is_asked_for(store: Store, tmp_path: Path) -> None:
    assert fetched(tmp_path, store, version="2.0.0", limit=7) == []
    [(query, headers)] = store.requests
    assert headers["X-Experience-API-Version"] == "2.0.0"
    assert query["limit"] == "7"


def test_only_what_is_new(store: Store, tmp_path: Path) -> None:
    store.add(*range(10))
    fetched(tmp_path, store)
    store.requests.clear()
    store.add(10, 11)
    assert [*fetch_events(*data(tmp_path, store.url))] == [f"{'statements':<26}         2 new"]
    assert len(store.requests) == 2  # with those of the overlap
    assert numbers_in(tmp_path) == [*range(12)]
    files = sorted(tmp_path.rglob("*.gz"))
    assert [*fetch_events(*data(tmp_path, store.url))] == [f"{'statements':<26}         0 new"]
    assert sorted(tmp_path.rglob("*.gz")) == files


def test_one_that_becomes_visible_later(store: Store, tmp_path: Path) -> None:
    store.add(1, 3, 5)
    assert fetched(tmp_path, store) == [1, 3, 5]
    store.add(4)
    assert fetched(tmp_path, store) == [1, 3, 4, 5]


def test_what_is_not_consistent_yet_comes_the_next_time(store: Store, tmp_path: Path) -> None:
    store.add(*range(10))
    store.through = store.statements[4]["stored"]
    assert fetched(tmp_path, store, overlap_seconds=0) == [*range(5)]
    store.through = store.statements[9]["stored"]
    assert fetched(tmp_path, store, overlap_seconds=0) == [*range(10)]


def test_a_folder_for_each_day(store: Store, tmp_path: Path) -> None:
    store.add(58, 59, 60, 61)  # around midnight
    assert fetched(tmp_path / DAY, store) == []
    assert [path.parent.name for path in sorted(tmp_path.rglob("*.gz"))] == [
        "2026-11-26", "2026-11-27",
    ]  # fmt: skip
    assert numbers_in(tmp_path) == [58, 59, 60, 61]


def test_since(store: Store, tmp_path: Path) -> None:
    store.add(58, 59, 60, 61)
    assert fetched(tmp_path, store, since="2026-11-27") == [60, 61]
    assert fetched(tmp_path, store) == [58, 59, 60, 61]  # now everything


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(plan=st.data())
def test_stopped_anywhere_and_complete_after_a_second_try(
    store: Store, tmp_path_factory: pytest.TempPathFactory, plan: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("log")
    store.statements = []
    number = 0
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(statements, "BATCH", 5)
        for _ in range(3):
            late = plan.draw(st.integers(0, 1), "one of them becomes visible later")
            new = [*range(number, number + plan.draw(st.integers(0, 20), "new"))]
            number += len(new)
            store.add(*new[: len(new) - 1 - late], *new[len(new) - late :])
            left = plan.draw(st.integers(0, 6), "requests before the store is gone")
            ask = record_store.RecordStore._get

            def going(self: Any, url: Any, ask: Any = ask) -> Any:
                nonlocal left
                left -= 1
                if left < 0:
                    raise FetchError("gone")
                return ask(self, url)

            patched.setattr(record_store.RecordStore, "_get", going)
            with contextlib.suppress(FetchError):
                fetched(folder / DAY, store)
            patched.setattr(record_store.RecordStore, "_get", ask)
            store.add(*new[len(new) - 1 - late : len(new) - late])
            if plan.draw(st.booleans(), "the note of progress is lost"):
                (folder / FetchProgress.FILE).unlink(missing_ok=True)
            [*fetch_events(*data(folder / DAY, store.url))]
            assert numbers_in(folder) == [*range(number)]


def test_a_busy_store_is_asked_again(store: Store, tmp_path: Path, pauses: list[float]) -> None:
    store.add(1)
    store.faults = [Fault(503), Fault(429, {"Retry-After": "7"}), Fault(502)]
    assert fetched(tmp_path, store) == [1]
    assert pauses == [1.0, 7.0, 4.0]


def test_a_store_that_stays_busy(store: Store, tmp_path: Path, pauses: list[float]) -> None:
    store.faults = [Fault(503)] * 20
    with pytest.raises(FetchError, match="it answered 503 Service Unavailable; 6 tries"):
        fetched(tmp_path, store)
    assert len(pauses) == 5
    store.faults = [Fault(429, {"Retry-After": "4000"})]
    with pytest.raises(FetchError, match="asks to wait 4,000 s"):
        fetched(tmp_path, store)


def test_nobody_there(store: Store, tmp_path: Path, pauses: list[float]) -> None:
    with pytest.raises(FetchError, match=r"could not be reached \(ConnectError\); 6 tries"):
        [*fetch_events(*data(tmp_path, "http://127.0.0.1:1/xapi"))]
    assert len(pauses) == 5
    assert store.requests == []


def test_the_password_goes_to_no_other_host(store: Store, tmp_path: Path) -> None:
    with serve_store() as other:
        store.add(1)
        page = {"statements": store.statements, "more": f"{other.url}/statements?ascending=true"}
        for more in (page["more"], f"//127.0.0.1:{other.port}/xapi/statements"):
            store.faults = [Fault(body=json.dumps({**page, "more": more}).encode())]
            with pytest.raises(FetchError, match="expected more statements at the same host"):
                fetched(tmp_path, store)
        store.faults = [Fault(302, {"Location": f"{other.url}/statements?ascending=true"})]
        with pytest.raises(FetchError, match=r"302 Found; set data\.fetch\.statements to its new"):
            fetched(tmp_path, store)
        assert other.requests == []


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"<html>", "expected JSON, found '<html>'"),
        (b"[]", "expected an object with a list of `statements`"),
        (b'{"statements": [1]}', "expected an object with a list of `statements`"),
        (b'{"statements": [], "more": 3}', "expected an address as `more`"),
        (b'{"statements": [{"id": "a"}]}', "expected `id` and `stored` .* found stored = null"),
    ],
)
def test_an_answer_that_is_not_xapi(
    store: Store, tmp_path: Path, body: bytes, expected: str
) -> None:
    store.faults = [Fault(body=body)]
    with pytest.raises(FetchError, match=expected):
        fetched(tmp_path, store)
    assert [*tmp_path.rglob("*.gz")] == []


def test_the_same_link_for_ever(store: Store, tmp_path: Path) -> None:
    page = json.dumps({"statements": [], "more": "/xapi/statements?page=2"}).encode()
    store.faults = [Fault(body=page)] * 3
    with pytest.raises(FetchError, match="found one for the second time"):
        fetched(tmp_path, store)


def test_a_page_without_end(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_store, "PAGE_BYTES", 1 << 20)
    packed = gzip.compress(b"[" + b" " * (3 << 20))  # small until it is unpacked
    store.faults = [Fault(headers={"Content-Encoding": "gzip"}, body=packed)]
    with pytest.raises(FetchError, match="more than 1 MiB; ask for fewer"):
        fetched(tmp_path, store)


def test_a_store_that_orders_them_otherwise(store: Store, tmp_path: Path) -> None:
    store.add(*range(20))
    first = {"statements": store.statements[10:], "more": "/xapi/statements?page=2"}
    store.faults = [
        Fault(body=json.dumps(page).encode())
        for page in (first, {"statements": store.statements[:5]})
    ]
    with pytest.raises(FetchError, match=r"set data\.fetch\.ordered_by to timestamp"):
        fetched(tmp_path, store)


def test_no_error_holds_the_password(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("LRS_USER", "somebody")
    with pytest.raises(FetchError, match="401 Unauthorized; are user and password") as refused:
        fetched(tmp_path, store)
    monkeypatch.setenv("LRS_URL", f"http://me:{PASSWORD}@127.0.0.1:{store.port}/xapi")
    with pytest.raises(FetchError, match=r"\$LRS_URL: expected an address such as") as odd:
        [*fetch_events(*data(tmp_path, store.url, statements=None, statements_env="LRS_URL"))]
    monkeypatch.delenv("LRS_PASSWORD")
    with pytest.raises(FetchError, match=r"variable LRS_PASSWORD, found none"):
        fetched(tmp_path, store)
    texts = [
        str(refused.value),
        str(odd.value),
        *(record.getMessage() for record in caplog.records),
    ]
    assert not any(PASSWORD in text for text in texts)


def test_a_file_that_was_damaged_is_named(store: Store, tmp_path: Path) -> None:
    store.add(1)
    fetched(tmp_path, store)
    [file] = tmp_path.rglob("*.gz")
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(FetchError, match=f"{re.escape(str(file))}: expected statements that"):
        fetched(tmp_path, store)


def test_a_real_store(ralph: ralphs.Ralph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import httpx

    monkeypatch.setenv("LRS_USER", ralphs.USER)
    monkeypatch.setenv("LRS_PASSWORD", ralphs.PASSWORD)

    def store(start: int, stop: int) -> None:
        sent = [
            {
                "id": str(UUID(int=(4 << 76) | (2 << 62) | number)),
                "timestamp": f"2026-11-27T10:00:{number:02}+00:00",
                "actor": {"mbox": f"mailto:learner{number % 3}@example.org"},
                "verb": {"id": "http://adlnet.gov/expapi/verbs/answered"},
                "object": {"id": "https://lms.example/question/1"},
                "result": {"success": number % 2 == 0, "score": {"scaled": 0.5}},
            }
            for number in range(start, stop)
        ]
        httpx.post(
            f"{ralph.url}/statements/",
            json=sent,
            auth=(ralphs.USER, ralphs.PASSWORD),
            headers={"X-Experience-API-Version": "1.0.3"},
            timeout=30,
        ).raise_for_status()

    def fetch() -> list[str]:
        settings = data(tmp_path, ralph.url, limit=10, ordered_by="timestamp", overlap_seconds=3)
        return [*fetch_events(*settings)]

    before = len(ralph.statements())
    store(0, 25)
    fetch()
    assert len(statements_in(tmp_path)) == before + 25
    store(25, 40)
    assert fetch() == [f"{'statements':<26}        15 new"]
    found = statements_in(tmp_path)
    assert {item["id"] for item in found} == {item["id"] for item in ralph.statements()}
    assert len(found) == before + 40


def test_learners_who_are_left_out(store: Store, tmp_path: Path) -> None:
    """A list of ids, as the mapping makes them, works for what a platform wrote."""
    store.add(*range(6))
    fetched(tmp_path / "log", store)
    path = tmp_path / "left-out.json"
    path.write_text(LeftOutList.empty().adding(["u2", "u4"], "opted out").to_json())
    values: dict[str, Any] = {
        "name": "a",
        "data": {
            "events": [str(tmp_path / "log")],
            "outcomes": ["o.csv"],
            "format": "xapi",
            "mapping": {
                "learner_id": "actor.account.name",
                "unit_id": {"constant": "unit"},
                "event_type": {"constant": "exercise"},
            },
            "left_out": str(path),
        },
        "schema": "a.pbtxt",
        "label": {"column": "label", "classes": ["no", "yes"]},
        "steps": {"features": {"event_type": {"type": "categorical"}}},
        "gates": [{"metric": "f1_macro", "min": 0.1}],
    }
    spec = LogSpec.of(Config.model_validate(values))
    found = find_files("events", [str(tmp_path / "log")], spec.mapping)
    read = read_files(events_table(spec), found)
    assert {name for chunk in read.chunks for name in chunk["learner_id"]} == {
        "u0", "u1", "u3", "u5",
    }  # fmt: skip
