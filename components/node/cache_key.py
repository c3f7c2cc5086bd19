"""Fingerprints of our own code, because TFX's cache key does not see a function's source.

A fingerprint covers the modules that a node runs, all modules of ours that they import, directly or
indirectly, at the top or inside functions, and the data files beside them. An edit of any of these
runs the node again; an edit elsewhere does not.
"""

from __future__ import annotations

import ast
import functools
import gc
import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

PACKAGE = "components"  # what nodes run lies below it
ROOT = Path(__file__).parents[2]  # the folder that holds the package
INIT = "__init__.py"
NO_DATA = {".py", ".pyc", ".md"}  # suffixes of files beside a module that are not its data

# A module that is loaded by its name: by TFX, by TFMA, or in a separate process.
_QUOTED = re.compile(rf"""(["'])({PACKAGE}(?:\.\w+)+)\1""")


def code_fingerprint(*modules: str, root: Path = ROOT) -> str:
    """Returns a short digest of the code of some modules, and of what they import and load.

    Args:
        modules: names such as `components.trainer.run`, also of something in a module, such as
            `components.trainer.run.run_fn`. Not in quotes here: quoted names are followed.
        root: the folder that holds the package.

    Raises:
        ModuleNotFoundError: a name does not lead to a module of ours.
    """
    digest = hashlib.sha256()
    for name, content in read_code(*modules, root=root).items():
        digest.update(name.encode() + b"\0")
        digest.update(hashlib.sha256(content).digest())
    return digest.hexdigest()[:16]


def read_code(*modules: str, root: Path = ROOT) -> dict[str, bytes]:
    """Returns the contents of the files that `code_fingerprint` digests, by path below `root`.

    Raises:
        ModuleNotFoundError: a name does not lead to a module of ours.
    """
    files = _module_files(root)
    for name in modules:
        _check(name, files)

    found: dict[Path, bytes] = {}
    seen: set[str] = set()
    waiting = list(modules)
    with _without_garbage_collection():
        while waiting:
            for name in _prefixes(waiting.pop()):
                if name in files and name not in seen:
                    seen.add(name)
                    file = files[name]
                    found[file] = file.read_bytes()
                    waiting += _imports(found[file], name, is_package=file.name == INIT)

    for package in [file.parent for file in found if file.name == INIT]:
        found |= {file: file.read_bytes() for file in _data_files(package)}
    return {file.relative_to(root).as_posix(): found[file] for file in sorted(found)}


def _module_files(root: Path) -> dict[str, Path]:
    """Returns the files of all modules of ours, by the name of the module."""
    files = {}
    for folder, _, names in os.walk(root / PACKAGE):
        package = ".".join(Path(folder).relative_to(root).parts)
        for name in names:
            if name == INIT:
                files[package] = Path(folder, name)
            elif name.endswith(".py"):
                files[f"{package}.{name.removesuffix('.py')}"] = Path(folder, name)
    return files


def _check(name: str, files: Mapping[str, Path]) -> None:
    """Raises ModuleNotFoundError unless a name is a module of ours, or of something in one."""
    holder = files.get(name.rpartition(".")[0])
    is_in_module = holder is not None and holder.name != INIT
    if name == PACKAGE or not (is_in_module or name in files):
        raise ModuleNotFoundError(f"there is no module {name} in {PACKAGE}", name=name)


def _prefixes(name: str) -> list[str]:
    """Returns a dotted name and the packages that Python imports before it: a, a.b, a.b.c."""
    parts = name.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts) + 1)]


@functools.cache  # by content: each file is parsed once, however many modules import it
def _imports(source: bytes, module: str, *, is_package: bool) -> frozenset[str]:
    """Returns the names of ours that a source imports or quotes: modules, and what they hold."""
    text = source.decode("utf-8")
    if PACKAGE not in text and "from ." not in text:
        return frozenset()  # it cannot import any of ours

    names = {name for _, name in _QUOTED.findall(text)}
    package = module if is_package else module.rpartition(".")[0]
    for statement in _statements(ast.parse(text).body):
        if isinstance(statement, ast.Import):
            names |= {alias.name for alias in statement.names}
        elif isinstance(statement, ast.ImportFrom):
            origin = _origin(statement, package)
            names |= {f"{origin}.{alias.name}" for alias in statement.names}

    return frozenset(name for name in names if name.partition(".")[0] == PACKAGE)


def _origin(statement: ast.ImportFrom, package: str) -> str:
    """Returns the absolute name of the module that a statement imports from."""
    if not statement.level:
        return statement.module or ""
    ancestors = package.split(".")
    kept = ancestors[: len(ancestors) + 1 - statement.level]
    return ".".join([*kept, *filter(None, [statement.module])])


def _statements(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Yields statements and those inside them, except what only type checkers read."""
    waiting = list(body)
    while waiting:
        statement = waiting.pop()
        yield statement
        if isinstance(statement, ast.If) and _is_for_type_checkers(statement.test):
            waiting += statement.orelse
            continue
        for field in ("body", "orelse", "finalbody"):
            waiting += getattr(statement, field, ())
        for part in (*getattr(statement, "handlers", ()), *getattr(statement, "cases", ())):
            waiting += part.body


def _is_for_type_checkers(test: ast.expr) -> bool:
    name = test.attr if isinstance(test, ast.Attribute) else getattr(test, "id", None)
    return name == "TYPE_CHECKING"


def _data_files(folder: Path) -> Iterator[Path]:
    """Yields the data files of a package, such as templates, without those of packages in it."""
    for path in folder.iterdir():
        if path.name.startswith((".", "__pycache__")):
            continue
        if path.is_dir():
            if not (path / INIT).is_file():
                yield from _data_files(path)
        elif path.suffix not in NO_DATA:
            yield path


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Pauses the collector: it would visit the many objects of a syntax tree and free none."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
