from __future__ import annotations

import os
import resource
import socket
import stat
from typing import TYPE_CHECKING

import pytest

from pilotage.core.sockets import bind_private, permissions, share_of_descriptors

if TYPE_CHECKING:
    from pathlib import Path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_private_socket_is_for_its_owner_only_from_the_start(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    with bind_private(path) as bound:
        assert bound.getsockname() == str(path)
        assert mode(path) == 0o600


def test_a_socket_that_cannot_be_bound_is_closed(tmp_path: Path) -> None:
    (tmp_path / "a.sock").touch()
    with pytest.raises(OSError, match="in use"):
        bind_private(tmp_path / "a.sock")


def _bind_twice(made: socket.socket, path: str) -> None:
    made.bind(path)
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(path)


@pytest.mark.parametrize("wanted", [0o600, 0o660])
def test_permissions_apply_inside_the_context_and_end_with_an_error(tmp_path: Path, wanted: int) -> None:
    before = os.umask(0o022)
    try:
        with socket.socket(socket.AF_UNIX) as made, pytest.raises(OSError, match="in use"), permissions(wanted):
            _bind_twice(made, str(tmp_path / "a.sock"))
        assert mode(tmp_path / "a.sock") == wanted
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(before)


@pytest.mark.parametrize(
    ("descriptors", "share"), [(resource.RLIM_INFINITY, 1000), (1_000_000, 1000), (1024, 128), (7, 1), (0, 1)]
)
def test_a_share_of_the_descriptors_is_at_least_one_and_at_most_the_maximum(
    monkeypatch: pytest.MonkeyPatch, descriptors: int, share: int
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (descriptors, descriptors))
    assert share_of_descriptors(8, 1000) == share
