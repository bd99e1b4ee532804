from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest

from pilotage.output.console import Out
from tests.support.example_engine import view
from tests.support.terminal import Terminal

if TYPE_CHECKING:
    from pathlib import Path

    from pilotage.output.view import View


@pytest.fixture(params=[0, 80, 120], ids=["pipe", "80 columns", "120 columns"])
def out(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Out:
    """A pipe, or a terminal without colours."""
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(request.param))
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.delenv("TTY_COMPATIBLE", raising=False)
    return Out(Terminal() if request.param else io.StringIO())


@pytest.fixture
def example(tmp_path: Path) -> View:
    return view(tmp_path)
