from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.support.example_engine import recording_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.commandline import Said


def test_a_name_is_explained(pilotage: Callable[..., Said], tmp_path: Path) -> None:
    said = pilotage("explain", "whoami", "--replay", recording_file(tmp_path))
    assert said.status == 0
    assert said.out.startswith("Container whoami on local")
    assert "\nRoute whoami → http://172.17.0.5:80\n" in said.out


def test_errors_of_the_explained_name_give_status_1_only_if_strict(
    pilotage: Callable[..., Said], tmp_path: Path
) -> None:
    for name, status in (("shop", 1), ("whoami", 0)):
        assert pilotage("explain", name, "--replay", recording_file(tmp_path)).status == 0
        assert pilotage("explain", name, "--strict", "--replay", recording_file(tmp_path)).status == status


@pytest.mark.parametrize(("name", "hint"), [("shpo", "did you mean 'shop'?"), ("zzzzzz", "known names are admin, api")])
def test_an_unknown_name_is_answered_with_known_ones(
    pilotage: Callable[..., Said], tmp_path: Path, name: str, hint: str
) -> None:
    said = pilotage("explain", name, "--replay", recording_file(tmp_path))
    assert (said.status, said.out) == (2, "")
    assert said.err.startswith(f"error: no container or alias is named '{name}'; {hint}")


def test_an_explanation_is_there_for_machines_too(pilotage: Callable[..., Said], tmp_path: Path) -> None:
    said = pilotage("explain", "shop", "--format", "json", "--replay", recording_file(tmp_path))
    story = json.loads(said.out)["containers"][0]
    (port,) = [fact for fact in story["routes"][0]["facts"] if fact["name"] == "port"]
    assert port["written"] == {"value": "8080", "label": "proxy.shop.port", "line": 0, "column": 0, "file": ""}
