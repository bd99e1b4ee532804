from __future__ import annotations

import contextlib
import errno
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from pilotage.gateway.capacity import descriptor_limit, failure, memory_limit, open_descriptors, raise_descriptor_limit


def test_the_soft_limit_becomes_the_hard_one() -> None:
    text = (
        "import resource; from pilotage.gateway.capacity import *;"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (100, 200));"
        "print(descriptor_limit()); raise_descriptor_limit(); print(descriptor_limit())"
    )
    found = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True).stdout
    assert found.split() == ["100", "200"]


def test_a_limit_that_cannot_be_raised_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbid(*_: object) -> None:
        raise ValueError("not allowed to raise maximum limit")

    monkeypatch.setattr(resource, "setrlimit", forbid)
    before = descriptor_limit()
    raise_descriptor_limit()
    assert descriptor_limit() == before


def test_no_limit_is_a_large_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert descriptor_limit() == 1 << 20


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"memory.max": "1000000\n"}, 1_000_000),
        ({"memory.max": "max\n"}, None),
        ({"memory/memory.limit_in_bytes": "2000000\n"}, 2_000_000),
        ({"memory/memory.limit_in_bytes": "9223372036854771712\n"}, None),
        ({}, None),
    ],
)
def test_memory_is_the_containers_limit_or_the_machines_size(
    files: dict[str, str], expected: int | None, tmp_path: Path
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert memory_limit(tmp_path) == (expected or machine)


def test_open_descriptors_are_counted() -> None:
    before = open_descriptors(os.getpid())
    with contextlib.ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(Path("/dev/null").open("rb"))
        assert open_descriptors(os.getpid()) == before + 5
    assert open_descriptors(2**22 + 1) == 0


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.EMFILE, "LimitNOFILE"),
        (errno.ENFILE, "fs.file-max"),
        (errno.EACCES, "the rights"),
        (errno.ENOSPC, "free some space"),
    ],
)
def test_the_remedy_fits_the_reason(number: int, remedy: str) -> None:
    error = failure("cannot write x", OSError(number, os.strerror(number)), "free some space")
    assert error.what == f"cannot write x: {os.strerror(number)}"
    assert remedy in error.remedy
