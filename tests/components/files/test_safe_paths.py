"""Names that others chose."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.files import safe_paths
from components.files.safe_paths import (
    UnsafePathError,
    path_below,
    paths_below,
    refuse_links,
    takes_names_for_one,
)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("../x", r"\.\. in it"), ("a/../../x", r"\.\. in it"), ("a/..", r"\.\. in it"),
        ("./a", r"\. or \.\. in it"),
        ("/etc/passwd", "an absolute path"), ("//etc/passwd", "an absolute path"),
        ("a//b", "an empty part"),
        ("", "an empty part"), ("a/", "an empty part"), ("..\\x", "a backslash"),
        ("C:\\x", "a backslash"),
        ("a\x00b", "a control character"), ("a\nb", "a control character"),
        ("\x1b]0;x\x07", "a control character"),
        ("a\x9bb", "a control character"), ("\udcff", "not UTF-8"), ("x" * 256, "too long"),
        ("é" * 128, "too long"),
        ("/".join(["x" * 200] * 21), "too long"),
    ],
)  # fmt: skip
def test_a_name_that_leads_out_or_is_no_file_is_refused(
    tmp_path: Path, name: str, found: str
) -> None:
    with pytest.raises(
        UnsafePathError, match=rf"expected the name of a file below {tmp_path}, found .*{found}"
    ) as caught:
        path_below(tmp_path, name)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    "name", ["saved_model.pb", "a/b c/ü.txt", "..a/b..", "...", "a:b", "~", "-rf", "'\"$(x)"]
)
def test_a_name_that_is_only_unusual_is_a_path(tmp_path: Path, name: str) -> None:
    assert path_below(tmp_path, name) == tmp_path / name


@given(
    st.text(alphabet=st.sampled_from(["a", ".", "/", "\\", "~", "\n", "\0", "é", "‮"]), max_size=12)
)
def test_no_name_leads_out(name: str) -> None:
    folder = Path("/nowhere/models")
    try:
        path = path_below(folder, name)
    except UnsafePathError:
        return
    assert Path(os.path.normpath(path)) == path
    assert path.is_relative_to(folder)
    assert path != folder


def test_a_link_on_the_way_is_refused(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "folder", tmp_path / "elsewhere"
    (elsewhere / "deep").mkdir(parents=True)
    folder.mkdir()
    (folder / "link").symlink_to(elsewhere)
    (folder / "dangling").symlink_to(tmp_path / "absent")
    for name in ("link", "link/x", "link/deep/x", "dangling"):
        with pytest.raises(UnsafePathError, match=rf"found a link at {folder}/(link|dangling)"):
            path_below(folder, name)
    linked = tmp_path / "linked"
    linked.symlink_to(folder)
    assert path_below(linked, "x") == linked / "x"  # where the folder is, is its owner's business
    refuse_links(folder, folder)


def test_a_name_that_is_file_and_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        UnsafePathError, match=r"'a/b': .* found a file where 'a/b/c/d' needs a folder"
    ):
        paths_below(tmp_path, ["a/b", "a/b/c/d"])
    assert [*paths_below(tmp_path, ["a/b", "a/bc", "a/c/d"])] == ["a/b", "a/bc", "a/c/d"]


def test_two_spellings_are_refused_where_they_are_one_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["x/Level", "x/level", "y/caf\u00e9", "y/cafe\u0301"]
    assert not takes_names_for_one(tmp_path / "absent", "x/Level", "x/level")
    assert takes_names_for_one(tmp_path, "x/Level", "x/Level")
    assert not [*tmp_path.iterdir()]
    assert len(paths_below(tmp_path, names)) == 4  # this machine's file system keeps them apart
    monkeypatch.setattr(safe_paths, "takes_names_for_one", lambda *_: True)
    with pytest.raises(UnsafePathError, match=r"'x/level': .* another spelling of 'x/Level'"):
        paths_below(tmp_path, names[:2])
    with pytest.raises(UnsafePathError, match="another spelling of"):
        paths_below(tmp_path, names[2:])
