"""For managers: what each version got right and wrong, and the documents of its run."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
from sqlalchemy import func, select
from sqlalchemy.orm import Session
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from components.contracts.papers import PAGES
from components.errors import MasteryError
from serving.answers.feedback import precision_in_use
from serving.answers.outcome_sums import EVERY_MONTH
from serving.answers.track_record import Measured, TrackRecord
from serving.answers.words import class_name
from serving.board.rendering import language_of, render
from serving.board.stopped import storage_of
from serving.board.table_export import Row, Schema, csv_response
from serving.models.incidents import incidents_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from serving.models.incidents import Incident

PAGE_ROWS = 20
MONTHS = 24

# The report brings its styles along and nothing else: no script, no address, no form, no cookie.
DOCUMENT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox"
)
_MEDIA_TYPES = {".html": "text/html", ".json": "application/json"}
_DOCUMENTS = {"report": (".html",), "card": (".html", ".json")}  # columns, and what they may name
_PAPERS = {Path(path).name for path in PAGES}  # pages beside the card, which link to one another

_MEASURES = ("accuracy", "recall", "precision", "rule_recall", "rule_precision",
             "recall_gain", "precision_gain")  # fmt: skip
_NUMBER_MEASURES = ("mean_absolute_error", "root_mean_squared_error", "bias")


@dataclass(frozen=True)
class VersionRow:
    """A version, and what came in about its answers; `record` is None without any outcome."""

    version: Any
    record: TrackRecord | None
    in_use: Any


def show(request: Request) -> Response:
    """Returns the list of versions, the newest first."""
    visible = request.state.visible
    versions, sums = visible.model_versions, visible.outcome_sums
    page = _page_number(request.query_params.get("page", ""))
    with Session(request.app.state.engine) as session:
        total = session.scalar(select(func.count()).select_from(versions)) or 0
        newest = select(versions).order_by(versions.id.desc()).limit(PAGE_ROWS)
        found = session.scalars(newest.offset((page - 1) * PAGE_ROWS)).all()
        ids = [version.id for version in found]
        every_month = sums.version_id.in_(ids), sums.month == EVERY_MONTH
        by_version: dict[int, list[Any]] = {}
        for row in session.scalars(select(sums).where(*every_month)):
            by_version.setdefault(row.version_id, []).append(row)
        in_use = precision_in_use(session, visible.actions, version_ids=ids) if ids else {}

        rows = [
            VersionRow(
                version,
                _record(version.classes, by_version.get(version.id, [])),
                in_use.get(version.id),
            )
            for version in found
        ]
        return render(
            request, "versions.html.j2", rows=rows, page=page, **_helpers(request),
            pages=max(1, -(-total // PAGE_ROWS)),
        )  # fmt: skip


def show_version(request: Request) -> Response:
    """Returns one version; with `?export=months`, its months as CSV."""
    visible = request.state.visible
    with Session(request.app.state.engine) as session:
        version = _version(request, session)
        sums = visible.outcome_sums
        found = session.scalars(
            select(sums).where(sums.version_id == version.id).order_by(sums.month)
        )
        records = {
            month: TrackRecord.of(version.classes, list(rows))
            for month, rows in groupby(found, key=lambda row: row.month)
        }
        if request.query_params.get("export") == "months":
            return _export_months(version, records)

        months = [(month, record) for month, record in records.items() if month != EVERY_MONTH]
        in_use = precision_in_use(session, visible.actions, version_ids=[version.id])
        return render(
            request, "version.html.j2", version=version, record=records.get(EVERY_MONTH),
            months=months[-MONTHS:], in_use=in_use.get(version.id),
            documents={name: _link_to(version, name) for name in _DOCUMENTS},
            incidents=_incidents(version),
            **_helpers(request),
        )  # fmt: skip


def show_document(request: Request) -> Response:
    """Returns the report of a version, or one of its papers: files that the table names.

    The papers are beside the model card. No part of the request is used as a path.
    """
    name = request.path_params["document"]
    if name not in _DOCUMENTS and name not in _PAPERS:
        raise HTTPException(404)
    with Session(request.app.state.engine) as session:
        version = _version(request, session)
    path = _find_document(version, name)
    if path is None:
        raise HTTPException(404)

    if not path.is_file():
        return render(
            request, "document_missing.html.j2", status_code=404, version=version, document=name
        )
    return FileResponse(
        path,
        media_type=_MEDIA_TYPES[path.suffix],
        headers={"Content-Security-Policy": DOCUMENT_POLICY, "Referrer-Policy": "no-referrer"},
    )


ROUTES = [
    Route("/versions", show),
    Route("/versions/{version_id:int}", show_version),
    Route("/versions/{version_id:int}/{document}", show_document),
]


def _version(request: Request, session: Session) -> Any:
    versions = request.state.visible.model_versions
    number = request.path_params["version_id"]
    found = select(versions).where(versions.id == number) if number < 2**62 else None
    version = None if found is None else session.scalar(found)
    if version is None:
        raise HTTPException(404)
    return version


def _find_document(version: Any, name: str) -> Path | None:
    """Returns the file of a document, or of a paper; None if the table names none on this machine.

    Args:
        version: the row of the version.
        name: one of `_DOCUMENTS` or `_PAPERS`.
    """
    column = "card" if name in _PAPERS else name
    recorded = getattr(version, column)
    if not recorded or _is_address(recorded) or not recorded.endswith(_DOCUMENTS[column]):
        return None
    path = Path(recorded)
    if name in _PAPERS:
        return path.with_name(name) if path.name in _PAPERS else None
    return path


def _record(classes: list[str], rows: list[Any]) -> TrackRecord | None:
    return TrackRecord.of(classes, rows) if rows else None


def _incidents(version: Any) -> list[Incident]:
    """Returns what went wrong with a version; nothing where its folder is on another machine."""
    storage = storage_of(version.card)
    try:
        return [] if storage is None else incidents_of(storage, version.version)
    except MasteryError:  # `mastery models log` says what is wrong with the log
        return []


def _link_to(version: Any, document: str) -> str | None:
    """Returns where a document of a version can be read; None if it is not known."""
    recorded = getattr(version, document)
    if not recorded:
        return None
    return recorded if _is_address(recorded) else f"/versions/{version.id}/{document}"


def _is_address(recorded: str) -> bool:
    return recorded.startswith(("https://", "http://"))


def _page_number(text: str) -> int:
    return max(1, int(text)) if text.isascii() and text.isdecimal() and len(text) < 6 else 1


def _helpers(request: Request) -> dict[str, Any]:
    return {"class_name": partial(class_name, language=language_of(request))}


def _export_months(version: Any, records: dict[str, TrackRecord]) -> Response:
    """Returns every month's measures with their intervals; the row of all months comes first."""
    measures = _MEASURES if version.classes else _NUMBER_MEASURES
    schema: dict[str, Any] = {"month": pl.String, "outcomes": pl.Int64}
    for name in measures:
        schema |= dict.fromkeys((name, f"{name}_low", f"{name}_high"), pl.Float64)
        schema[f"{name}_learners"] = pl.Int64

    def read() -> Iterator[Row]:
        for month, record in records.items():
            row: dict[str, object] = {"month": month or "all", "outcomes": record.outcomes}
            for name in measures:
                measured: Measured = getattr(record, name)
                row |= {
                    name: measured.value,
                    f"{name}_low": measured.low,
                    f"{name}_high": measured.high,
                    f"{name}_learners": measured.learners,
                }
            yield row

    columns: Schema = schema
    return csv_response(f"version-{version.version}-months", read(), columns)
