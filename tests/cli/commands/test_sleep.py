"""``pilotage wake`` and ``pilotage sleep`` without a daemon; tests of sleep and wake run them with one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.commandline import Said


@pytest.mark.parametrize("command", ["wake", "sleep"])
def test_without_a_daemon_the_command_says_how_to_start_one(pilotage: Callable[..., Said], command: str) -> None:
    said = pilotage(command, "shop")
    assert said.status == 2
    assert "no daemon is running; start one with 'pilotage serve'" in said.out + said.err


@pytest.mark.parametrize("command", ["wake", "sleep"])
def test_the_name_is_required(pilotage: Callable[..., Said], command: str) -> None:
    assert pilotage(command).status == 2
