"""Where a pipeline keeps its files below a root folder."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from components.errors import ConfigError, MasteryError

if TYPE_CHECKING:
    from components.config import Config


@dataclass(frozen=True)
class Layout:
    """Paths of one pipeline below `root`; pipelines may share a root and its metadata store.

    ```
    root/metadata.sqlite                ML Metadata: every execution and artifact
    root/<name>/nodes/<node>/...        artifacts
    root/<name>/runs/<run>/             a run's record and logs
    root/<name>/schemas/<digest>.pbtxt  the curated schema as a run saw it
    root/<name>/serving/<version>/      pushed models
    root/<name>/cross-validation/       tables over folds, and below it a root for each fold
    root/<name>/tuning/                 the trials of a search, and the best configuration
    root/<name>/backtest/<digest>/      a table over spans, and below it a root for each span
    ```
    """

    root: Path
    name: str

    @property
    def metadata(self) -> Path:
        """The SQLite file of ML Metadata."""
        return self.root / "metadata.sqlite"

    @property
    def store_name(self) -> str:
        """The pipeline's name in the metadata store, at most 63 characters as TFX demands.

        A server may hold the metadata of many roots. Pipelines of one name in two of them would
        take each other's artifacts from the cache, and each other's models as baseline; so the root
        is part of the name.
        """
        digest = hashlib.sha256(f"{self.root}/{self.name}".encode()).hexdigest()[:10]
        return f"{self.name[:52]}@{digest}"

    @property
    def nodes(self) -> Path:
        """TFX's pipeline root: one folder per node."""
        return self.root / self.name / "nodes"

    @property
    def runs(self) -> Path:
        """The folder with one folder per run."""
        return self.root / self.name / "runs"

    def run(self, run_id: str) -> Path:
        """The folder of a run."""
        return self.runs / run_id

    @property
    def cross_validation(self) -> Path:
        """The folder with the tables over folds."""
        return self.root / self.name / "cross-validation"

    def fold(self, number: int) -> Path:
        """The root in which a fold of a cross-validation runs."""
        return self.cross_validation / f"fold-{number}"

    @property
    def tuning(self) -> Path:
        """The folder with the trials of a search for better settings."""
        return self.root / self.name / "tuning"

    @property
    def backtest(self) -> Path:
        """The folder with the tables over spans of the past, one for each configuration."""
        return self.root / self.name / "backtest"

    def serving(self, config: Config) -> Path:
        """The folder that TensorFlow Serving watches."""
        if config.push.directory:
            return Path(config.push.directory)
        return self.root / self.name / "serving"

    def schema_snapshot(self, config: Config) -> Path:
        """The file that holds the curated schema, named by its content.

        TFX's cache key has a schema's path only, so an edited schema needs another path.

        Raises:
            ConfigError: the configured schema cannot be read.
        """
        digest = hashlib.sha256(read_schema_text(config)).hexdigest()[:12]
        return self.root / self.name / "schemas" / f"{digest}.pbtxt"


def check_root(root: Path) -> None:
    """Refuses a root whose path Beam and TensorFlow would take for a pattern.

    Raises:
        MasteryError: there is such a character in it.
    """
    odd = sorted(set("*?[]\\") & set(str(root)))
    if odd:
        without = f"{' '.join(odd)}, which stand for patterns of files"
        raise MasteryError(f"--root {root}: expected a path without {without}.")


def read_schema_text(config: Config) -> bytes:
    """Returns the configured schema file's bytes.

    Raises:
        ConfigError: there is no such file; the text says how to write a first one.
    """
    try:
        return Path(config.schema_).read_bytes()
    except OSError as error:
        raise ConfigError(
            f"schema: expected a TFDV schema at {config.schema_}, found none ({error.strerror}). "
            "`mastery schema infer --config ...` writes a first one from the log."
        ) from None
