"""Run commands: in this process on a machine without engines, or as a separate process."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from pilotage.cli.main import run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["Said", "a_process", "pilotage"]


class Said(NamedTuple):
    """Exit status and output of a command."""

    status: int
    out: str
    err: str


@pytest.fixture
def pilotage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Said]:
    """Run a command on a machine without an engine, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("pilotage.config.engines.CONFIG_FILES", ("pilotage.yml",))
    monkeypatch.setattr("pilotage.engine.contexts.local_sockets", lambda env: [str(tmp_path / "none.sock")])
    monkeypatch.setattr("pilotage.discovery.detect.local_sockets", lambda env: [])
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "PILOTAGE_DEBUG", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PILOTAGE_SOCKET", str(tmp_path / "daemon.sock"))  # not that of a daemon at work here

    def command(*args: str) -> Said:
        status = run(args)
        said = capsys.readouterr()
        assert "Traceback" not in said.out + said.err
        return Said(status, said.out, said.err)

    return command


def a_process(*args: str, **more: Any) -> subprocess.Popen[str]:
    """Start a command as a separate process."""
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-m", "pilotage", *args], **pipes | more)
