from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from pilotage.policy.files import MAX_FILE, is_below, read_below
from tests.support.leaks import descriptors

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def allowed(tmp_path: Path) -> Path:
    folder = tmp_path / "allowed"
    folder.mkdir()
    (folder / "a.pem").write_bytes(b"content")
    (tmp_path / "secret").write_bytes(b"secret")
    return folder


def read(path: object, folder: Path) -> bytes | None:
    return read_below(str(path), [str(folder)])


def test_a_file_below_the_folder_is_read(allowed: Path) -> None:
    assert read(allowed / "a.pem", allowed) == b"content"


def test_a_folder_that_is_itself_a_link_is_resolved(allowed: Path) -> None:
    link = allowed.parent / "link"
    link.symlink_to(allowed)
    assert read(link / "a.pem", link) == read(link / "a.pem", allowed) == read(allowed / "a.pem", link) == b"content"


@pytest.mark.parametrize(
    "name", ["../secret", "link", "links/secret", "missing", ".", "pipe", "large", "a.pem\0", "x" * 5000]
)
def test_nothing_else_is_read(allowed: Path, name: str) -> None:
    (allowed / "link").symlink_to(allowed.parent / "secret")
    (allowed / "links").symlink_to(allowed.parent)
    os.mkfifo(allowed / "pipe")
    (allowed / "large").write_bytes(b"x" * (MAX_FILE + 1))
    assert read(f"{allowed}/{name}", allowed) is None


def test_the_largest_file_is_read_whole(allowed: Path) -> None:
    (allowed / "large").write_bytes(b"x" * MAX_FILE)
    assert read(allowed / "large", allowed) == b"x" * MAX_FILE


def test_a_relative_path_lies_below_nothing(allowed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(allowed)
    assert not is_below("a.pem", [str(allowed)])


def test_the_answer_is_the_same_for_files_that_do_not_exist(allowed: Path) -> None:
    for folders in ([str(allowed)], []):
        assert not is_below(str(allowed.parent / "secret"), folders)
        assert not is_below(str(allowed.parent / "nothing"), folders)
    assert is_below(str(allowed / "nothing"), [str(allowed)])


def test_without_folders_the_file_system_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.path.realpath", lambda path: pytest.fail(f"asked for {path}"))
    assert not is_below("/etc/passwd", [])


def test_a_link_that_is_swapped_in_after_the_check_is_not_followed(
    allowed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = allowed / "inner"
    inner.mkdir()
    (inner / "secret").write_bytes(b"harmless")
    resolve = os.path.realpath

    def swap(path: str) -> str:
        found = resolve(path)
        if path == str(inner / "secret"):
            inner.rename(allowed / "gone")
            inner.symlink_to(allowed.parent)
        return found

    monkeypatch.setattr("os.path.realpath", swap)
    assert read(inner / "secret", allowed) is None


def test_a_path_may_be_as_long_as_the_system_allows(allowed: Path) -> None:
    longest = os.pathconf("/", "PC_PATH_MAX")
    path = f"{allowed}/".ljust(longest, "/")
    assert is_below(path, [str(allowed)])
    assert not is_below(f"{path}/", [str(allowed)])


def test_nothing_stays_open(allowed: Path) -> None:
    before = descriptors()
    assert read(allowed / "a.pem", allowed) == b"content"
    assert read(allowed / "missing.pem", allowed) is None
    assert descriptors() == before


def test_the_root_folder_is_no_file() -> None:
    assert read_below("/", ["/"]) is None
