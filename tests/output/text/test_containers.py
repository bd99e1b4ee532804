from __future__ import annotations

import io
from typing import TYPE_CHECKING

from pilotage.output.console import Out
from pilotage.output.text.containers import print_containers
from tests.support.example_engine import recording, view
from tests.support.terminal import printed

if TYPE_CHECKING:
    from pathlib import Path

    from syrupy.assertion import SnapshotAssertion

    from pilotage.output.view import View


def test_containers(out: Out, example: View, snapshot: SnapshotAssertion) -> None:
    print_containers(out, example)
    assert printed(out) == snapshot


def test_an_engine_without_containers_says_so(tmp_path: Path) -> None:
    out = Out(io.StringIO())
    print_containers(out, view(tmp_path, recording([])))
    assert printed(out) == "No containers.\n"
