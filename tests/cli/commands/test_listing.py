from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from pilotage.api.snapshot import pack
from pilotage.routes.route import Route
from pilotage.table.envoys import RouteState
from pilotage.table.table import Table
from pilotage.testing import FakeEngine, container
from tests.cli.test_daemon_client import daemon
from tests.support.example_engine import EXAMPLE, one, recording, recording_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.commandline import Said
    from tests.support.engines import Engine


FINE = recording([one("web", {"proxy.web.port": "8080"}), one("db", Image="postgres:17")])


def test_options_that_cannot_be_combined_are_refused(pilotage: Callable[..., Said]) -> None:
    said = pilotage("ps", "--demo", "--replay", "x")
    assert said.status == 2
    assert "cannot be combined" in said.err


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--engine", "ftp://x"], "has the scheme 'ftp', which pilotage does not support"),
        (["--engine", "a=ssh://me:pw@x"], "an ssh address cannot contain a password"),
        (["--engine", "nonsense"], "has no name; write NAME=URL"),
        (["--context", "none"], "no Docker context 'none'"),
        (["--config", "none.yml"], "none.yml: cannot be read"),
        (["--replay", "none.json"], "none.json: cannot be read"),
        ([], "no container engine found"),
    ],
)
@pytest.mark.parametrize("command", ["ps", "routes"])
def test_unusable_input_is_reported_in_our_words(
    pilotage: Callable[..., Said], command: str, args: list[str], said: str
) -> None:
    found = pilotage(command, *args)
    assert (found.status, found.out) == (2, "")
    assert said in found.err


@pytest.mark.parametrize("how", ["--demo", "--or-demo"])
def test_a_demonstration_without_room_for_its_socket_says_so(
    pilotage: Callable[..., Said], how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/nonexistent")
    said = pilotage("routes", how)
    assert (said.status, said.out) == (2, "")
    assert said.err.splitlines()[-1] == (
        "error: demo: the demonstration cannot make its socket: No such file or directory; "
        "make /tmp writable, or set TMPDIR to another folder"
    )


def test_every_problem_of_a_configuration_is_printed_with_its_place(
    pilotage: Callable[..., Said], tmp_path: Path
) -> None:
    text = "providers:\n  docker:\n    a: {sheme: tcp, host: x}\n    b: tpc://x:1\n"
    (tmp_path / "pilotage.yml").write_text(text)
    found = pilotage("routes")
    assert found.status == 2
    assert "pilotage.yml:3:9" in found.err
    assert "did you mean 'scheme'?" in found.err
    assert "pilotage.yml:4:8" in found.err


def test_all_is_well_with_status_0(pilotage: Callable[..., Said], tmp_path: Path) -> None:
    said = pilotage("routes", "--replay", recording_file(tmp_path, FINE))
    assert (said.status, said.err) == (0, "")
    assert said.out.endswith("\n\n2 routes, 1 excluded, no problems\n")


@pytest.mark.parametrize(("args", "status"), [((), 0), (("--strict",), 1)])
def test_errors_stand_below_the_table_and_give_status_1_only_if_strict(
    pilotage: Callable[..., Said], tmp_path: Path, args: tuple[str, ...], status: int
) -> None:
    said = pilotage("ps", *args, "--replay", recording_file(tmp_path))
    assert said.status == status
    assert "\nerror: local/shop: proxy.admin.pot" in said.out
    assert said.out.index("CONTAINER") < said.out.index("error:") < said.out.index("14 containers")


def test_a_pipe_gets_one_line_for_each_row_whatever_its_length(pilotage: Callable[..., Said], tmp_path: Path) -> None:
    name = "a" * 150
    said = pilotage("ps", "--replay", recording_file(tmp_path, recording([one(name)])))
    assert said.out.splitlines()[1].startswith(f"{name}  local")


def test_json_is_the_document(pilotage: Callable[..., Said], tmp_path: Path) -> None:
    for command in ("routes", "ps"):
        said = pilotage(command, "--format", "json", "--strict", "--replay", recording_file(tmp_path))
        assert said.status == 1
        document = json.loads(said.out)
        assert list(document) == ["containers", "routes", "pools", "problems"]
        assert document["routes"]["shop"]["healthcheck"]["path"] == "/up"
        assert len(document["containers"]) == len(EXAMPLE)


def test_several_recordings_give_a_document_each_a_line_each(pilotage: Callable[..., Said], tmp_path: Path) -> None:
    files = []
    for name in ("one", "two", "three"):
        file = tmp_path / f"{name}.json"
        file.write_text(json.dumps(recording([one(name)]), indent=2))
        files += ["--replay", str(file)]
    said = pilotage("routes", "--format", "json", *files)
    assert [list(json.loads(line)["routes"]) for line in said.out.splitlines()] == [["one"], ["two"], ["three"]]


def test_the_demonstration_needs_no_engine(pilotage: Callable[..., Said]) -> None:
    said = pilotage("routes", "--demo")
    assert said.status == 0  # what is wrong in it is wrong on purpose
    assert "did you mean 'scheme'?" in said.out


def test_the_demonstration_can_replace_a_missing_engine(pilotage: Callable[..., Said]) -> None:
    said = pilotage("routes", "--or-demo")
    assert "shop-admin" in said.out
    assert said.err == "No container engine responds here, so this is the built-in demonstration.\n"


async def test_one_engine_that_fails_does_not_stop_the_others(pilotage: Callable[..., Said], tmp_path: Path) -> None:
    async with FakeEngine([container("web", ports=(80,))]) as engine:
        args = ["--engine", f"gone=unix://{tmp_path}/gone.sock", "--engine", f"here={engine.url}"]
        table = await asyncio.to_thread(pilotage, "ps", *args)
        document = await asyncio.to_thread(pilotage, "routes", "--format", "json", *args)
    assert table.status == document.status == 1
    assert "web" in table.out
    assert table.err.startswith(f"error: gone: no socket at {tmp_path}/gone.sock; ")
    found = json.loads(document.out)
    assert list(found["routes"]) == ["web"]
    assert [problem["provider"] for problem in found["problems"]] == ["gone"]


def test_nothing_reachable_is_status_2(pilotage: Callable[..., Said], tmp_path: Path) -> None:
    args = ["--engine", f"gone=unix://{tmp_path}/gone.sock"]
    table = pilotage("routes", *args)
    assert (table.status, table.out) == (2, "")
    assert "no socket at" in table.err
    document = pilotage("routes", "--format", "json", *args)
    assert document.status == 2
    assert json.loads(document.out)["problems"][0]["provider"] == "gone"


def test_a_route_of_a_file_is_listed_and_explained(pilotage: Callable[..., Said], tmp_path: Path) -> None:
    (tmp_path / "pilotage.yml").write_text("providers:\n  files: own.yml\n")
    (tmp_path / "own.yml").write_text("nas: {host: 10.0.0.2, port: 5000}\n")
    said = pilotage("routes")
    assert (said.status, said.err) == (0, "Using own.yml: named in pilotage.yml.\n")
    assert "nas    http://10.0.0.2:5000  -          own.yml  ready" in said.out
    said = pilotage("explain", "nas")
    assert said.status == 0
    assert "own.yml:1:29" in said.out
    assert "did you mean 'nas'?" in pilotage("explain", "nsa").err


@pytest.mark.parametrize(
    "labels",
    [
        {"proxy.a": "\x00"},
        {"proxy.a": "&a [*a]"},
        {"proxy.a": "{" * 5000},
        {"proxy.": "x", "proxy": "y", "proxy..": "z"},
        {"proxy.a.port.proxy.x.y": "1", "proxy.a": "port: [1]"},
        {"proxy.aliases": ",", "proxy.#99999999999999999999": "a: b"},
    ],
)
def test_no_label_makes_any_command_fail(pilotage: Callable[..., Said], tmp_path: Path, labels: dict[str, str]) -> None:
    file = recording_file(tmp_path, recording([one("web", labels)]))
    for command in (["routes"], ["ps"], ["explain", "web"]):
        for form in ((), ("--format", "json")):
            assert pilotage(*command, *form, "--replay", file).status in {0, 1}


async def test_a_new_user_sees_routes_and_slips_of_a_real_engine(
    pilotage: Callable[..., Said], engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.run("cli-shop", labels={"proxy.aliases": "shop", "proxy.shop.prot": "8080", "proxy.shop.scheme": "https"})
    engine.run("cli-db", "pilotage/web:1", None, "--expose", "5432")
    monkeypatch.setenv("DOCKER_HOST", engine.host)
    routes = await asyncio.to_thread(pilotage, "routes")
    assert routes.status == 0
    assert routes.err == f"Using local: DOCKER_HOST is {engine.host}.\n"
    (shop,) = [line for line in routes.out.splitlines() if line.startswith("shop ")]
    assert shop.split()[1] == f"https://{engine.inspect('cli-shop')['NetworkSettings']['IPAddress']}:80"
    assert "local/cli-shop: proxy.shop.prot: unknown field; did you mean 'port'?" in routes.out
    why = await asyncio.to_thread(pilotage, "explain", "cli-db")
    assert why.status == 0
    assert (
        "Route cli-db is not served: Blacklisted (backend service or database); recognized by its port 5432" in why.out
    )
    engines = await asyncio.to_thread(pilotage, "engines")
    assert engines.status == 0
    assert engines.out.splitlines()[1].startswith("local*")


@pytest.mark.parametrize("unfit", [["--replay", "x"], ["--demo"], ["--or-demo"], ["--format", "json"]])
def test_only_live_tables_can_be_watched(pilotage: Callable[..., Said], unfit: list[str]) -> None:
    said = pilotage("routes", "--watch", *unfit)
    assert said.status == 2
    assert "--watch" in said.err


def test_wide_shows_what_each_envoy_has_of_each_route(
    pilotage: Callable[..., Said], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = {
        "shop": {"edge": RouteState("waiting", 3), "pilotage": RouteState("accepted", 7)},
        "blog": {"edge": RouteState("accepted", 2), "pilotage": RouteState("accepted", 2)},
        "wiki": {"edge": RouteState("rejected"), "pilotage": RouteState("accepted", 4)},
    }
    table = Table(
        {alias: Route(alias=alias, provider="local", container=alias) for alias in ("shop", "blog", "wiki", "new")}
    )
    monkeypatch.setenv("PILOTAGE_SOCKET", str(tmp_path / "pilotage.sock"))
    with daemon(tmp_path / "pilotage.sock", pack((), table, on_envoys=states)):
        lines = {line.split()[0]: line for line in pilotage("routes", "--wide").out.splitlines() if line}
        plain = json.loads(pilotage("routes", "--wide", "--format", "json").out)
    assert lines["ALIAS"].endswith("ENVOYS")
    assert lines["shop"].endswith("edge: waiting, has version 3; pilotage: version 7")
    assert lines["blog"].endswith("all 2: version 2")
    assert lines["wiki"].endswith("edge: rejected, has no known version; pilotage: version 4")
    assert lines["new"].endswith("-")
    assert plain["routes"]["shop"]["envoys"]["edge"] == {"state": "waiting", "version": 3}
    assert plain["routes"]["new"]["envoys"] == {}


def test_wide_needs_a_running_daemon(pilotage: Callable[..., Said]) -> None:
    for more in (["--demo"], ["--demo", "--format", "json"]):
        said = pilotage("routes", "--wide", *more)
        assert (said.status, said.out) == (2, "")
        assert "only a running 'pilotage serve' knows" in said.err
    assert "cannot be combined" in pilotage("routes", "--wide", "--watch").err
