"""Tables of pages as CSV, sent while they are read: no table has to fit into memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

import polars as pl
from starlette.responses import StreamingResponse

from components.files.spreadsheet import for_spreadsheet

ROWS_PER_BLOCK = 1000
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"  # so that Excel reads UTF-8

Row = Mapping[str, object]
Schema = Mapping[str, type[pl.DataType] | pl.DataType]


def csv_response(name: str, rows: Iterable[Row], schema: Schema) -> StreamingResponse:
    """Returns a file to download, in which text stays text in a spreadsheet.

    Args:
        name: of the file, without its ending.
        rows: one mapping per row; they are read while the answer is sent.
        schema: the columns.
    """
    return StreamingResponse(
        _blocks(rows, schema),
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}.csv"'},
    )


def _blocks(rows: Iterable[Row], schema: Schema) -> Iterator[bytes]:
    yield _BYTE_ORDER_MARK + pl.DataFrame(schema=dict(schema)).write_csv().encode()
    left = iter(rows)
    while block := list(islice(left, ROWS_PER_BLOCK)):
        table = pl.DataFrame(block, schema=dict(schema), orient="row")
        yield for_spreadsheet(table).write_csv(include_header=False).encode()
