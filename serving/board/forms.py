"""Forms that only the board's own pages can send: where a request comes from, and its token."""

from __future__ import annotations

import hmac
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import Message, Receive

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
FIELD = "csrf"
HEADER = "x-csrf-token"
MOST_BYTES = 64 * 2**10  # of a form; the longest has a note in it
MOST_FIELDS = 200


async def read_body(request: Request) -> bytes:
    """Returns the whole body.

    Raises:
        HTTPException: 413, it is too large for a form; 400, the browser has gone.
    """
    declared = request.headers.get("content-length", "0")
    if declared.isdecimal() and int(declared) > MOST_BYTES:
        raise HTTPException(413)

    body = bytearray()
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise HTTPException(400)
        body += message.get("body", b"")
        if len(body) > MOST_BYTES:
            raise HTTPException(413)
        if not message.get("more_body", False):
            return bytes(body)


def replay(body: bytes, receive: Receive) -> Receive:
    """Returns a `receive` that gives a body that has been read once more."""
    is_given = False

    async def receive_again() -> Message:
        nonlocal is_given
        if is_given:
            return await receive()
        is_given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_again


def is_same_origin(request: Request, public_url: str | None) -> bool:
    """Returns whether a browser sent a request from one of the board's own pages.

    A program that sends neither header passes; it needs the token all the same.

    Args:
        request: one that may change something.
        public_url: the address that readers type; None for whatever `Host` says.
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None and site != "same-origin":
        return False

    origin = request.headers.get("origin")
    if origin is None:
        return True
    if public_url is not None and origin.lower() == public_url:
        return True
    host = request.headers.get("host", "")
    return urlsplit(origin).netloc.lower() == host.lower() and origin != "null"


async def has_token(request: Request, token: str | None) -> bool:
    """Returns whether a request carries a login's token, in the header or in the form.

    Raises:
        HTTPException: 400, the form cannot be read.
    """
    if not token:
        return False

    sent = request.headers.get(HEADER)
    if sent is None:
        async with request.form(max_files=0, max_fields=MOST_FIELDS) as form:
            field = form.get(FIELD)
        sent = field if isinstance(field, str) else ""
    # The comparison takes the same time however many characters are right.
    return hmac.compare_digest(sent.encode(), token.encode())
