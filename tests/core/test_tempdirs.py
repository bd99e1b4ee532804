from __future__ import annotations

import socket
import stat
import tempfile
from pathlib import Path

import pytest

from pilotage.core.tempdirs import socket_tempdir


@pytest.fixture
def usual(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder for temporary files."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_the_directory_is_private_temporary_and_removed(usual: Path) -> None:
    with socket_tempdir("p-", "s") as made:
        assert Path(made).parent == usual
        assert stat.S_IMODE(Path(made).stat().st_mode) == 0o700
    assert not Path(made).exists()


@pytest.mark.parametrize("length", [107, 108, 200])
def test_a_socket_path_fits_even_if_tmpdir_is_long(usual: Path, monkeypatch: pytest.MonkeyPatch, length: int) -> None:
    ours = len("/p-12345678/engine.sock")
    deep = usual / ("x" * (length - ours - len(str(usual)) - 1))
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    with socket_tempdir("p-", "engine.sock") as made, socket.socket(socket.AF_UNIX) as one:
        one.bind(f"{made}/engine.sock")
        assert (Path(made).parent == deep) is (length == 107)


def test_a_directory_that_cannot_be_created_is_an_oserror(usual: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(usual / "none"))
    with pytest.raises(FileNotFoundError):
        socket_tempdir("p-", "s")
