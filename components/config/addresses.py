"""Types of settings that hold addresses or name secrets; none of them may hold a secret itself.

A configuration is written into plans, manifests, compiled pipelines and error texts. So an address
with a password in it is refused, and no error repeats what was found there.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator

from components.command.escape import hide_userinfo

_SECRET_WORDS = "secret|password|passwd|token|credential|private_key|connection_string"
_SECRET_OPTION = re.compile(rf"--?(?=[\w-]*(?:{_SECRET_WORDS}))([\w-]+)", re.IGNORECASE)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def shown(value: object) -> str:
    """Returns a value for an error text; of an address only scheme and host: paths hold tokens.

    >>> shown("https://me:word@chat.example/hooks/T0/B0")
    "'https://chat.example/...'"
    >>> shown(0.5)
    '0.5'
    """
    if "://" not in repr(value):
        return repr(value)
    if not isinstance(value, str):
        return f"a {type(value).__name__} with an address in it"

    scheme, _, rest = value.partition("://")
    host, *more = re.split(r"[/?#]", rest, maxsplit=1)
    return repr(f"{scheme}://{host.rpartition('@')[2]}{'/...' if any(more) else ''}")


def _without_userinfo(value: object) -> object:
    if isinstance(value, str) and hide_userinfo(value) != value:
        raise ValueError(
            "expected an address without user name and password, found some in front of the @; "
            "secrets come from the environment"
        )
    return value


def _host(value: object) -> object:
    if isinstance(value, str) and "@" in value:
        raise ValueError(
            "expected the name or address of a machine, found something in front of an @; "
            "user and password are settings of their own"
        )
    return value


def _variable(value: object) -> object:
    if isinstance(value, str) and not _VARIABLE.fullmatch(value):
        raise ValueError(
            "expected the name of an environment variable (letters, digits and _), found another "
            "text; the secret itself never stands here"
        )
    return value


def _option(value: object) -> object:
    if isinstance(value, str) and (found := _SECRET_OPTION.match(value)):
        raise ValueError(
            f"expected no secret, found the option --{found[1]}; options are written into "
            "manifests, so give it to the runner by its environment"
        )
    return _without_userinfo(value)


Address = Annotated[str, BeforeValidator(_without_userinfo)]  # a URL, or a path where both will do
Host = Annotated[str, BeforeValidator(_host)]  # of a server, without a scheme
Variable = Annotated[str, BeforeValidator(_variable)]  # name of the one that holds a secret
Option = Annotated[str, BeforeValidator(_option)]  # of a runner
