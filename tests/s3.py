"""A bucket on a real S3 server, for tests of object stores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Bucket:
    """An empty bucket, and a client independent of our code to inspect it with."""

    name: str
    client: Any

    def names(self) -> list[str]:
        listed = self.client.list_objects_v2(Bucket=self.name)
        return [item["Key"] for item in listed.get("Contents", [])]
