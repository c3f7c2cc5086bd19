"""A provider of OpenID Connect in a process of its own, which notes what clients send to it.

`python -m tests.serving.board.provider PORT LOG`
"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from werkzeug.serving import make_server
from werkzeug.wrappers import Request

USERS = {
    "ada": {"preferred_username": "ada", "email": "ada@school.example", "email_verified": True},
    "max": {"preferred_username": "max", "email": "max@school.example", "email_verified": False},
    "eve": {"preferred_username": "eve", "email": "eve@school.example", "email_verified": True},
}


def serve(port: int, log: Path) -> None:
    """Runs the provider until the process ends."""
    from oidc_provider_mock import User, app

    users = [User(sub=name, claims=claims) for name, claims in USERS.items()]
    provider = app(require_nonce=True, user_claims=users)

    def noted(environ: dict[str, Any], start_response: Any) -> Any:
        request = Request(environ)
        body = request.get_data(cache=True, parse_form_data=False)
        sent = dict(parse_qsl(request.query_string.decode()))
        sent |= dict(parse_qsl(body.decode()))
        line = json.dumps({
            "method": request.method, "path": request.path, "sent": sent,
            "authorization": request.headers.get("Authorization", ""),
        })  # fmt: skip
        with log.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
        environ["wsgi.input"] = io.BytesIO(body)  # it has been read
        return provider(environ, start_response)

    make_server("127.0.0.1", port, noted, threaded=True).serve_forever()


if __name__ == "__main__":
    serve(int(sys.argv[1]), Path(sys.argv[2]))
