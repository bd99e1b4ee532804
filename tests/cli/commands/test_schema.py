from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from pilotage.output.json_schema import SCHEMAS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.commandline import Said


@pytest.mark.parametrize("kind", SCHEMAS)
def test_a_schema_is_printed(kind: str, pilotage: Callable[..., Said]) -> None:
    assert json.loads(pilotage("schema", kind).out) == SCHEMAS[kind]()


def test_an_unknown_kind_names_the_known_ones(pilotage: Callable[..., Said]) -> None:
    said = pilotage("schema", "swarm")
    assert said.status == 2
    assert "'routes', 'labels'" in said.err
