from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pilotage.policy import Policy
from pilotage.xds.ruled_routes import RuledRoutes
from tests.support.gateway import route
from tests.xds.test_rule_budget import ruled

if TYPE_CHECKING:
    from pathlib import Path


def test_routes_have_the_rules_in_their_files_as_they_were_last_followed(tmp_path: Path) -> None:
    routes, path = RuledRoutes(1), tmp_path / "rules"
    path.write_text("path /a { proxy http://192.0.2.1 }")
    table = {"app": route("app", 1, rule_file=str(path)), "plain": route("plain", 1), "own": route("own", 1)}
    table["own"] = route("own", 1, rule_file="embed://webui.yml")
    found = routes.follow(table, table)
    assert found["app"].settings.rules == path.read_text()
    assert [found[name] for name in ("plain", "own")] == [table[name] for name in ("plain", "own")]
    path.unlink()
    assert routes.read(table["app"]) == (found["app"], ())
    assert routes.files.changed() == {"app"}
    assert routes.follow(table, ["app"])["app"] is table["app"]
    assert len(routes.read(table["app"])[1]) == 1
    for gone in ({}, {"app": route("app", 1)}, {"app": route("app", 1, rule_file=str(path), excluded=True)}):
        routes.follow(table, ["app"])
        routes.follow(gone, ["app"])
        assert (routes.files.aliases, routes.read(table["app"])) == (set(), (table["app"], ()))


@pytest.mark.parametrize("container", ["app", ""])
def test_the_policy_decides_where_rules_in_files_of_containers_lead(tmp_path: Path, container: str) -> None:
    path = tmp_path / "rules"
    path.write_text("path /a { proxy http://192.0.2.1 }\npath /b { serve /srv/www }\npath /c { route other }")
    given = route("app", 1, rule_file=str(path), folders=(str(tmp_path),) if container else None, container=container)
    routes = RuledRoutes(1)
    routes.follow({"app": given}, ["app"], Policy(targets="own"))
    found, problems = routes.read(given)
    if not container:  # of a route file
        assert (problems, bool(found.settings.rules)) == ((), True)
        return
    assert found is given
    assert [(it.path, it.refused) for it in problems] == [("rule_file", True)] * 2
    assert problems[0].message.endswith("may not point to 192.0.2.1:80, because gateway.targets is own")
    assert "gateway.label_roots" in problems[1].hint
    routes.follow({"app": given}, ["app"], Policy(label_roots=("/srv",)))
    assert routes.read(given)[1] == ()


def test_a_file_that_makes_reading_fail_affects_only_its_route(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    routes = RuledRoutes(1)
    monkeypatch.setattr(routes.files, "apply", lambda _: 1 // 0)
    table = {"app": route("app", 1, rule_file=f"{tmp_path}/rules"), "other": route("other", 1)}
    assert routes.follow(table, table)["other"] is table["other"]
    (problem,) = routes.read(table["app"])[1]
    assert problem.route == "app"
    assert "ZeroDivisionError" in problem.message


def test_served_routes_keep_their_places_when_settings_change() -> None:
    before = RuledRoutes(1)
    served = [name for name in map(str, range(60)) if before.admit(name, ruled(name, size=40))[0] is not None]
    assert 0 < len(served) < 60
    after = RuledRoutes(1, before)
    assert after.admit("new", ruled("new", size=40))[0] is None
    assert all(after.admit(name, ruled(name, size=40))[0] is not None for name in served)
    after.admit(served[0], None)
    assert list(after.retry()) == ["new"]
