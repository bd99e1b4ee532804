"""Whether containers are awake, in words, in the table and in its changes."""

from __future__ import annotations

import pytest

from pilotage.table.diff import diff
from pilotage.table.store import RouteStore
from pilotage.table.wakefulness import Wakefulness
from tests.support.summaries import built


@pytest.mark.parametrize(
    ("wakefulness", "remark"),
    [
        (Wakefulness("asleep", 1.0), "asleep"),
        (Wakefulness("waking", 1.0), "waking"),
        (Wakefulness("waking", 1.0, "starting db"), "waking: starting db"),
        (Wakefulness("ready", 1.0), "awake"),
        (Wakefulness("quiescing", 1.0), "falling asleep"),
        (Wakefulness("stopping", 1.0), "falling asleep"),
        (Wakefulness("failed", 1.0, "db exited"), "could not be woken: db exited"),
    ],
)
def test_each_state_has_a_phrase(wakefulness: Wakefulness, remark: str) -> None:
    assert wakefulness.remark == remark


def test_a_change_of_the_state_is_a_change_of_the_table_but_not_of_the_route() -> None:
    store = RouteStore()
    store.set_routes(("local", "x"), built({"proxy.aliases": "web"}))
    first = store.commit().table
    store.set_wakefulness("web", Wakefulness("asleep", 1.0))
    second = store.commit().table
    assert second.routes is first.routes
    assert diff(first, second) == ()  # it has always been asleep, as far as anybody knows
    store.set_wakefulness("web", Wakefulness("waking", 2.0, "starting web"))
    third = store.commit().table
    (change,) = diff(second, third)
    assert (change.kind, change.alias, change.cause) == ("wakefulness", "web", "waking: starting web")
    store.set_wakefulness("web", Wakefulness("waking", 2.0, "starting web"))
    assert store.commit().table is third
    store.set_wakefulness("web", Wakefulness("ready", 3.0, last_wake=2.5))
    (change,) = diff(third, store.commit().table)
    assert change.cause == "awake after 2.5s"
    store.set_wakefulness("web", None)
    assert "web" not in store.commit().table.wakefulness
