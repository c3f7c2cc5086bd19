"""The sections `channels` and `delivery` of `answers.yaml`: who receives what."""

from __future__ import annotations

from typing import Literal

from components.config.section import Section


class Channel(Section):
    """A receiver of alerts."""

    kind: Literal["file"] = "file"
    path: str


class Delivery(Section):
    """Where every answer goes, besides the database."""
