from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.commandline import Said


def test_files_are_checked_without_an_engine(pilotage: Callable[..., Said], tmp_path: Path) -> None:
    assert pilotage("check").status == 2
    (tmp_path / "own.yml").write_text("nas: {host: 10.0.0.2}\n")
    assert pilotage("check", "own.yml") == (0, "own.yml: no problems\n", "")
    (tmp_path / "compose.yml").write_text("services: {web: {labels: {proxy.web.prot: 1}}}\n")
    said = pilotage("check")
    assert said.status == 1
    assert said.out.startswith("error: compose.yml:1:27: web: proxy.web.prot: unknown field; did you mean 'port'?\n")
    assert said.out.endswith("compose.yml: 1 problem, 0 warnings\n")
    assert pilotage("check", "compose.yml", "none.yml").status == 2
    document = json.loads(pilotage("check", "own.yml", "--format", "json").out)
    assert document == {"files": {"own.yml": "routes"}, "problems": []}
