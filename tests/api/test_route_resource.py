from __future__ import annotations

from typing import TYPE_CHECKING

from pilotage.core.problems import Problem
from pilotage.table.traffic import RouteTraffic
from tests.support.api_server import serving
from tests.support.waiting import until

if TYPE_CHECKING:
    from tests.support.api_server import Caller


async def tag_of(caller: Caller, path: str) -> str:
    async with caller.session.get(caller.url + path) as answer:
        assert answer.status == 200
        assert answer.headers["Cache-Control"] == "no-cache"
        return answer.headers["ETag"]


async def test_routes_are_listed_by_filter_and_page() -> None:
    async with serving() as caller:
        found = await caller.json("/v1/routes")
        assert list(found["routes"]) == ["db", "web"]
        assert (found["next"], found["total"], found["states"]) == (None, 2, {"excluded": 1, "ready": 1})
        web = found["routes"]["web"]
        assert (web["url"], web["envoy_state"], web["state"]) == ("http://web.localhost:8080", "waiting", "ready")
        assert web["homepage"]["name"] == "Web"
        page = await caller.json("/v1/routes?limit=1")
        assert (list(page["routes"]), page["next"]) == (["db"], "db")
        assert list((await caller.json("/v1/routes?limit=1&after=db"))["routes"]) == ["web"]
        assert list((await caller.json("/v1/routes?state=excluded"))["routes"]) == ["db"]
        error = await caller.json("/v1/routes?stat=ready", 400)
        assert error == {"error": "there is no parameter 'stat'", "hint": "did you mean 'state'?"}


async def test_an_unchanged_list_is_not_sent_again() -> None:
    async with serving() as caller:
        known = await tag_of(caller, "/v1/routes")
        for tag, status in ((known, 304), (f'W/{known}, "x"', 304), ("*", 304), ('"other"', 200)):
            assert (await caller.raw("/v1/routes", **{"If-None-Match": tag}))[0] == status
        assert known.startswith(f'"{caller.source.discovery.table.version}-')
        caller.source.revision += 1  # an Envoy has answered
        answered = await tag_of(caller, "/v1/routes")
        caller.source.found = (Problem(message="rejected", route="web"),)
        rejected = await tag_of(caller, "/v1/routes")
        before = caller.source.discovery.table.version
        caller.engine.add("new", labels={"proxy.new.port": "81"})
        await until(lambda: caller.source.discovery.table.version > before)
        assert len({known, answered, rejected, await tag_of(caller, "/v1/routes")}) == 4


async def test_one_route_is_explained_with_everything_about_it() -> None:
    async with serving() as caller:
        caller.source.counted = {"web": RouteTraffic(requests=9, errors=2)}
        async for update in caller.source.discovery:
            caller.source.history.add(update)
            break
        found = await caller.json("/v1/routes/web")
        assert found["route"] == (await caller.json("/v1/routes"))["routes"]["web"]
        (container,) = found["explanation"]["containers"]
        (route,) = container["routes"]
        (port,) = [fact for fact in route["facts"] if fact["name"] == "port"]
        assert (port["value"], port["written"]["label"]) == ("80", "proxy.web.port")
        assert (found["traffic"]["requests"], found["traffic"]["errors"]) == (9, 2)
        assert found["envoys"] == {"edge": {"state": "waiting", "version": 1}}
        assert (found["sleep"], [change["kind"] for change in found["changes"]]) == (None, ["problem", "added"])
        (problem,) = found["problems"]
        assert problem["label"] == "proxy.web.sheme"
        assert problem["correction"]["line"] == 'proxy.web.scheme: "http"'
        error = await caller.json("/v1/routes/wep", 404)
        assert error == {"error": "no route is called 'wep'", "hint": "did you mean 'web'?"}
        assert (await caller.json("/v1/routes/WEB"))["route"]["alias"] == "web"


async def test_changes_are_listed_since_a_version() -> None:
    async with serving() as caller:
        source = caller.source
        updates = aiter(source.discovery)
        source.history.add(await anext(updates))
        first = await caller.json("/v1/changes")
        assert first["complete"]
        assert {"db", "web"} <= {change["alias"] for change in first["changes"]}
        assert (await caller.json(f"/v1/changes?since={first['version']}"))["changes"] == []
        known = await tag_of(caller, "/v1/changes")
        assert (await caller.raw("/v1/changes", **{"If-None-Match": known}))[0] == 304
        caller.engine.add("new", labels={"proxy.new.port": "81"})
        source.history.add(await anext(updates))
        later = await caller.json(f"/v1/changes?since={first['version']}", 200, **{"If-None-Match": known})
        assert [(change["kind"], change["alias"]) for change in later["changes"]] == [("added", "new")]
        assert later["changes"][0]["text"].endswith(":81")
        assert not (await caller.json("/v1/changes?since=999999"))["complete"]
        assert (await caller.json("/v1/changes?kind=aded", 400))["hint"] == "did you mean 'added'?"
