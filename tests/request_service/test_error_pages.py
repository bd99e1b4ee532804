from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pilotage.request_service import error_pages
from pilotage.request_service.error_pages import ErrorPages

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_a_status_has_its_own_page_or_the_one_for_404(tmp_path: Path) -> None:
    pages = ErrorPages(str(tmp_path))
    assert pages.page(500) == b""
    (tmp_path / "404.html").write_text("lost")
    (tmp_path / "502.html").write_text("down")
    pages = ErrorPages(str(tmp_path))
    assert (pages.page(404), pages.page(502), pages.page(500)) == (b"lost", b"down", b"lost")


def test_a_page_that_cannot_be_used_is_none(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "404.html")
    (tmp_path / "500.html").write_text("x" * 300_000)
    pages = ErrorPages(str(tmp_path))
    assert (pages.page(404), pages.page(500)) == (b"", b"")


def test_a_page_is_read_again_after_a_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pages = ErrorPages(str(tmp_path))
    (tmp_path / "404.html").write_text("old")
    assert pages.page(404) == b"old"
    (tmp_path / "404.html").write_text("new")
    assert pages.page(404) == b"old"
    monkeypatch.setattr(error_pages, "_FRESH", 0.0)
    assert pages.page(404) == b"new"


def test_files_are_kept_for_a_moment_and_only_a_few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pages = ErrorPages(str(tmp_path))
    for number in range(100):
        (tmp_path / f"{number}.css").write_text(str(number))
        assert pages.asset(f"{number}.css") == str(number).encode()
    assert len(pages._assets) == 32
    (tmp_path / "99.css").write_text("new")
    assert pages.asset("99.css") == b"99"
    monkeypatch.setattr(error_pages, "_FRESH", 0.0)
    assert pages.asset("99.css") == b"new"
    os.mkfifo(tmp_path / "pipe")
    assert [pages.asset(name) for name in ("pipe", "none", "../x", ".x", "", "x" * 300, "a\0b", ".")] == [None] * 8
