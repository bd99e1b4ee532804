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


def test_the_folder_is_private_lies_where_temporary_files_do_and_goes_at_the_end(usual: Path) -> None:
    with socket_tempdir("p-", "s") as made:
        assert Path(made).parent == usual
        assert stat.S_IMODE(Path(made).stat().st_mode) == 0o700
    assert not Path(made).exists()


@pytest.mark.parametrize("length", [107, 108, 200])
def test_a_socket_fits_however_long_the_path_of_temporary_files_is(
    usual: Path, monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    ours = len("/p-12345678/engine.sock")
    deep = usual / ("x" * (length - ours - len(str(usual)) - 1))
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    with socket_tempdir("p-", "engine.sock") as made, socket.socket(socket.AF_UNIX) as one:
        one.bind(f"{made}/engine.sock")
        assert (Path(made).parent == deep) is (length == 107)


def test_where_no_folder_can_be_made_the_error_is_the_systems(usual: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(usual / "none"))
    with pytest.raises(FileNotFoundError):
        socket_tempdir("p-", "s")
