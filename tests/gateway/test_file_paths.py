from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotage.gateway.file_paths import FileRoot, find, split_path

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = tmp_path / "root"
    (made / "docs").mkdir(parents=True)
    (made / ".git").mkdir()
    (made / ".well-known").mkdir()
    for name in ("index.html", "a b.txt", "docs/index.html", "play.html", "app.html", ".env", ".git/config"):
        (made / name).write_text(name)
    (made / ".well-known/security.txt").write_text("contact")
    (tmp_path / "secret.txt").write_text("secret")
    os.mkfifo(made / "pipe")
    return made


def _read(root: FileRoot, path: str) -> str | None:
    parts = split_path(path)
    found = find(root, parts[0], slash=parts[1]) if parts is not None else None
    if found is None:
        return None
    if found.descriptor < 0:
        return "folder"
    with os.fdopen(found.descriptor) as file:
        return file.read()


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("/", "index.html"),
        ("/a%20b.txt", "a b.txt"),
        ("/docs", "folder"),
        ("/docs/", "docs/index.html"),
        ("/docs/index.html", "docs/index.html"),
        ("/play", None),
        ("/a%20b.txt/", None),
        ("/nothing", None),
        ("/pipe", None),
        ("/.env", None),
        ("/%2eenv", None),
        ("/.git/config", None),
        ("/.well-known/security.txt", "contact"),
        ("/../secret.txt", None),
        ("/%2e%2e/secret.txt", None),
        ("/..%2fsecret.txt", None),
        ("/docs/..%2f..%2fsecret.txt", None),
        ("//docs/", None),
        ("/index.html%00.txt", None),
        ("/" + "a" * 300, None),
        ("/" + "a/" * 100, None),
        ("/%ff%fe", None),
    ],
)
def test_a_path_leads_to_a_file_below_the_folder_or_to_nothing(root: Path, path: str, content: str | None) -> None:
    assert _read(FileRoot(str(root)), path) == content


def test_an_spa_has_its_index_at_every_path_without_a_file(root: Path) -> None:
    spa = FileRoot(str(root), index="/app.html", spa=True)
    paths = ("/", "/docs/", "/play", "/index.html", "/anything/else", "/docs/none/")
    assert [_read(spa, path) for path in paths] == [
        *("app.html", "docs/index.html", "play.html", "index.html", "app.html", "app.html"),
    ]
    assert _read(spa, "/.env") is None


def test_links_are_followed_only_within_the_folder(root: Path, tmp_path: Path) -> None:
    (root / "inside").symlink_to(root / "docs")
    (root / "outside").symlink_to(tmp_path)
    (root / "secret").symlink_to(tmp_path / "secret.txt")
    (root / "loop").symlink_to(root / "loop")
    (tmp_path / "root-2").mkdir()
    (tmp_path / "root-2" / "other").write_text("other")
    (root / "near").symlink_to(tmp_path / "root-2")
    paths = ("/inside/index.html", "/outside/secret.txt", "/secret", "/loop", "/near/other")
    assert [_read(FileRoot(str(root)), path) for path in paths] == ["docs/index.html", None, None, None, None]


def test_a_folder_named_in_a_label_must_lie_below_one_that_is_allowed(root: Path, tmp_path: Path) -> None:
    assert _read(FileRoot(str(root), folders=(str(tmp_path),)), "/") == "index.html"
    assert _read(FileRoot(str(root), folders=(str(root / "docs"),)), "/") is None
    assert _read(FileRoot(str(root), folders=()), "/") is None
    link = tmp_path / "allowed"
    link.mkdir()
    (link / "root").symlink_to(root)
    assert _read(FileRoot(f"{link}/root", folders=(str(link),)), "/") is None


@given(st.text("/.%2ef\\ab0~;", max_size=30))
def test_no_path_leaves_the_folder(path: str) -> None:
    parts = split_path("/" + path)
    if parts is not None:
        assert not any(part in ("", ".", "..") or "/" in part or part.startswith(".") for part in parts[0])
