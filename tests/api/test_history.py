from __future__ import annotations

from msgspec.structs import replace

from pilotage.api.history import ChangeFilter, ChangeHistory
from pilotage.core.problems import Problem
from pilotage.discovery.update import Update
from pilotage.table.diff import Change, diff
from pilotage.table.store import build_table
from pilotage.table.table import Table
from tests.support.example_engine import engine_snapshot, one


def update(version: int, *changes: Change) -> Update:
    return Update(Table(version=version - 1), Table(version=version), changes)


def added(alias: str, engine: str = "local") -> Change:
    return Change("added", alias, engine=engine)


def ids(history: ChangeHistory, **wanted: object) -> list[int]:
    return [change.id for change in history.select(ChangeFilter(**wanted))]  # type: ignore[arg-type]


def test_the_newest_change_comes_first_and_old_ones_are_forgotten() -> None:
    history = ChangeHistory(3)
    for version, alias in enumerate("abcde", 1):
        history.add(update(version, added(alias)))
    assert [change.alias for change in history.select()] == ["e", "d", "c"]
    assert (len(history), history.last_id) == (3, 5)
    assert [history.is_complete(since, 5) for since in range(7)] == [False, False, True, True, True, True, False]


def test_of_a_large_update_only_the_last_changes_are_recorded() -> None:
    history = ChangeHistory(2)
    history.add(update(1, added("x")))
    history.add(update(2, *map(added, "abc")))
    assert [(change.id, change.alias) for change in history.select()] == [(4, "c"), (3, "b")]
    assert not history.is_complete(1, 2)
    assert history.is_complete(2, 2)


def test_filters_select_changes() -> None:
    history = ChangeHistory()
    history.add(update(1, added("a"), added("b", "nas")))
    history.add(update(2, Change("removed", "a", engine="local")))
    assert ids(history) == [3, 2, 1]
    assert ids(history, since=1) == [3]
    assert ids(history, alias="a") == [3, 1]
    assert ids(history, engine="nas") == [2]
    assert ids(history, kinds=frozenset({"added"}), limit=1) == [2]


def test_a_change_says_for_people_what_changed() -> None:
    old = build_table([engine_snapshot([one("web")])])
    new = build_table([engine_snapshot([one("web", {"proxy.web.port": "81", "proxy.web.sheme": "http"})])])
    history = ChangeHistory()
    history.add(Update(old, new, diff(old, new)))
    changed = next(iter(history.select(ChangeFilter(kinds=frozenset({"updated"})))))
    assert changed.text.endswith(":81; port changed") or ":81" in changed.text
    (problem,) = history.select(ChangeFilter(kinds=frozenset({"problem"})))
    assert problem.problem is not None
    assert problem.problem.label == "proxy.web.sheme"
    assert "unknown field" in problem.text


def test_each_history_has_a_name_of_its_own() -> None:
    assert ChangeHistory().instance != ChangeHistory().instance


def test_a_change_of_an_engine_says_why() -> None:
    history = ChangeHistory()
    history.add(update(1, Change("stale", engine="nas", cause="connection refused")))
    history.add(update(2, Change("problem", problem=replace(Problem(message="wrong"), file="a.yml"))))
    assert [change.text for change in history.select()] == ["wrong", "connection refused"]
