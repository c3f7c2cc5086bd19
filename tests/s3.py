"""A real S3 server, for what moves files to an object store and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Bucket:
    """An empty bucket, and a client that is not ours to look into it with."""

    name: str
    client: Any

    def names(self) -> list[str]:
        return [
            item["Key"]
            for item in self.client.list_objects_v2(Bucket=self.name).get("Contents", [])
        ]
