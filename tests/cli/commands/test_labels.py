from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.commandline import Said


def test_labels_can_be_searched(pilotage: Callable[..., Said]) -> None:
    said = pilotage("labels", "wake")
    assert said.status == 0
    assert [line.split()[0] for line in said.out.splitlines()] == ["LABEL", "proxy.wake_timeout"]


def test_an_unknown_label_gets_a_suggestion(pilotage: Callable[..., Said]) -> None:
    said = pilotage("labels", "shceme")
    assert (said.status, said.out) == (2, "")
    assert said.err == "error: no label name contains 'shceme'; did you mean 'scheme'?\n"


def test_labels_are_there_for_machines_and_documents(pilotage: Callable[..., Said]) -> None:
    assert len(json.loads(pilotage("labels", "--format", "json").out)) > 100
    assert pilotage("labels", "--format", "markdown").out.startswith("# Labels\n")
