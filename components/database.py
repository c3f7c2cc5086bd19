"""Addresses of databases: read, shown and explained without the passwords in them."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Engine, make_url
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, DBAPIError

from components.command.escape import hide_userinfo, in_one_line, shorten

LONGEST = 300  # characters of what a database says


def read_address(given: str, drivers: Mapping[str, str]) -> URL:
    """Returns the address of a database, with the driver that we ship.

    Args:
        given: the address; it may hold a password.
        drivers: by kind of database, as it begins an address, the name of its driver.

    Raises:
        ValueError: it is not the address of such a database. The text does not repeat it.
    """
    kinds = " or ".join(f"{kind}://" for kind in drivers)
    try:
        address = make_url(given)
    except (ArgumentError, ValueError):
        raise ValueError(
            f"expected an address that begins with {kinds} and in which special characters of a "
            "password are written as %XX, found another text"
        ) from None
    kind = address.get_backend_name()
    if kind not in drivers:
        raise ValueError(f"expected an address that begins with {kinds}, found {kind}://")
    return address.set(drivername=drivers[kind])


def describe(engine: Engine) -> str:
    """Returns the database's address without its password."""
    return engine.url.render_as_string(hide_password=True)


def reason_of(error: DBAPIError, password: str | None = None) -> str:
    """Returns in one line what a database says about an error, without a password."""
    text = str(error.orig).strip().partition("\n")[0]
    if password:
        text = text.replace(password, "...")
    return shorten(in_one_line(hide_userinfo(text)), LONGEST)
