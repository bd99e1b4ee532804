from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from pilotage.core.tempdirs import lock_file, owned_tempdir, private_folder_of, socket_tempdir


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


def test_the_folder_of_a_private_socket_is_created_for_this_user_alone(tmp_path: Path) -> None:
    private_folder_of(f"{tmp_path}/new/inner/a.sock")
    assert stat.S_IMODE((tmp_path / "new/inner").stat().st_mode) == 0o700
    private_folder_of(f"{tmp_path}/new/inner/a.sock")


@pytest.mark.parametrize("mode", [0o750, 0o701, 0o777])
def test_a_folder_that_others_can_use_is_refused(tmp_path: Path, mode: int) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(mode)
    with pytest.raises(PermissionError, match="must belong to this user, have mode 0700"):
        private_folder_of(f"{tmp_path}/open/a.sock")


def test_a_link_to_a_private_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(PermissionError, match="must belong to this user"):
        private_folder_of(f"{tmp_path}/link/a.sock")


def test_folders_of_killed_processes_are_removed_and_those_of_others_stay(usual: Path) -> None:
    program = f"""
import os, tempfile
tempfile.tempdir = {str(usual)!r}
from pilotage.core.tempdirs import owned_tempdir
with owned_tempdir("p-", "s") as folder:
    (folder / "sub").mkdir()
    print(folder, flush=True)
    os.kill(os.getpid(), 9)
"""
    found = [subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False) for _ in "12"]
    left = [Path(each.stdout.strip()) for each in found]
    assert not left[0].exists()  # the second has removed it
    assert left[1].is_dir()
    without_lock, open_to_all, elsewhere = usual / "p-without", usual / "p-open", usual / "q-other"
    for folder, mode in ((without_lock, 0o700), (open_to_all, 0o755), (elsewhere, 0o700)):
        folder.mkdir(mode=mode)
    (open_to_all / "owner.lock").touch()
    (elsewhere / "owner.lock").touch()
    (usual / "p-link").symlink_to(elsewhere)
    with owned_tempdir("p-", "s") as first, owned_tempdir("p-", "s") as second:
        assert not left[1].exists()
        assert first.is_dir()
        assert second.is_dir()
        assert {without_lock, open_to_all, elsewhere} <= set(usual.iterdir())
        assert (usual / "p-link").is_symlink()
        assert (elsewhere / "owner.lock").exists()
    assert not first.exists()
    assert not second.exists()


def test_a_lock_is_held_until_its_descriptor_is_closed(tmp_path: Path) -> None:
    held = lock_file(tmp_path / "lock")
    assert held is not None
    assert lock_file(tmp_path / "lock") is None
    os.close(held)
    again = lock_file(tmp_path / "lock", create=False)
    assert again is not None
    os.close(again)
    with pytest.raises(FileNotFoundError):
        lock_file(tmp_path / "none", create=False)
