from __future__ import annotations

from typing import Any

from pilotage.dashboard.actions import put_to_sleep, wake
from tests.support.dashboard import Asked


def test_containers_are_woken_and_put_to_sleep_by_name() -> None:
    sleeper: Any = Asked()
    assert put_to_sleep(sleeper, "wiki") == ""
    assert wake(sleeper, "wiki") == ""
    assert sleeper.asked == ["sleep wiki", "wake wiki"]


def test_a_refusal_gives_the_reason() -> None:
    sleeper: Any = Asked()
    wake(sleeper, "wiki")
    assert put_to_sleep(sleeper, "wiki").endswith("needs it")
    for action in (wake, put_to_sleep):
        assert action(sleeper, "shop") == "no container of 'shop' can sleep"
        assert action(None, "wiki") == "no container of 'wiki' can sleep"
