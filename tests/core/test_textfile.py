from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from pilotage.core.textfile import UnreadableFile, read_text

if TYPE_CHECKING:
    from pathlib import Path


def test_text_is_read_without_its_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\xef\xbb\xbfa: \xc3\xa4\r\n")
    assert read_text(tmp_path / "a") == "a: ä\r\n"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none", "cannot be read: No such file or directory"),
        (".", "cannot be read: Is a directory"),
        ("pipe", "is not a regular file"),
        ("/dev/zero", "is not a regular file"),
        ("large", "is larger than 4 MiB"),
        ("bytes", "is not UTF-8 text"),
        ("\0", "cannot be read: its name contains a null character"),
    ],
)
def test_anything_else_is_refused_at_once(tmp_path: Path, name: str, message: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(b"#" * (4 * 1024 * 1024 + 1))
    (tmp_path / "bytes").write_bytes(b"\xff")
    with pytest.raises(UnreadableFile) as caught:
        read_text(tmp_path / name)
    assert caught.value.message == message
