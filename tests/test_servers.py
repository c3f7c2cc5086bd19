"""The servers and programs that tests fetch start and answer."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.chromium import Browser
from tests.postgresql import PostgreSQL


def test_postgresql_answers(postgresql: PostgreSQL) -> None:
    environment = {**os.environ, "LD_LIBRARY_PATH": postgresql.programs.libraries}
    command = [postgresql.programs.folder / "psql", postgresql.url, "-Atc", "select 6 * 7"]
    assert subprocess.check_output(command, env=environment, text=True) == "42\n"


def test_the_browser_runs_scripts(browser: Browser, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("<title></title><script>document.title = 6 * 7</script>", encoding="utf-8")
    assert "<title>42</title>" in browser.dump(page, tmp_path / "profile")
