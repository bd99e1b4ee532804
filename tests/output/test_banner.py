"""What is printed once pilotage serves, to a terminal and into a pipe."""

from __future__ import annotations

import io
import re
from typing import Any

import msgspec
import pytest

from pilotage.core.problems import Problem
from pilotage.engine.config import DockerProviderConfig
from pilotage.output.banner import Banner, print_banner
from pilotage.output.console import Out
from pilotage.output.urls import GatewayPorts
from pilotage.table.store import build_table
from pilotage.table.table import EngineStatus
from tests.support.example_engine import engine_snapshot, one
from tests.support.terminal import Terminal

LOCAL = DockerProviderConfig("unix:///var/run/docker.sock", name="local")


@pytest.fixture(autouse=True)
def usual_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "90")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")


def served(*containers: dict[str, Any], **fields: Any) -> Banner:
    table = build_table([engine_snapshot(list(containers))])
    return Banner(engines=(LOCAL,), why="the default socket", table=table, problems=table.problems, **fields)


def shown(what: Banner, file: io.StringIO | None = None, command: str = "pilotage") -> str:
    out = Out(file or Terminal())
    print_banner(out, what, command=command)
    assert isinstance(out.file, io.StringIO)
    return re.sub(r"\x1b\[[0-9;]*m", "", out.file.getvalue())


FULL = served(
    one("web", {"proxy.web.port": "80"}),
    one("ssh", {"proxy.ssh": "scheme: tcp\nport: 2222:22"}),
    one("shop", {"proxy.shop.prot": "81"}),
    one("db", Image="postgres:17"),
    api=("unix:///run/p.sock", "http://127.0.0.1:8888"),
)


def test_a_terminal_shows_urls_problems_and_next_steps() -> None:
    assert shown(FULL, command="sh scripts/run") == (
        """\
Watching local (unix:///var/run/docker.sock): the default socket.

Serving 3 routes on port 8080:

NAME  URL                         TARGET
shop  http://shop.localhost:8080  http://172.17.0.5:80
ssh   tcp://localhost:2222        tcp4://172.17.0.5:22
web   http://web.localhost:8080   http://172.17.0.5:80

Not served: db
local/shop
  ✗ proxy.shop.prot: unknown field; did you mean 'port'?

Run 'sh scripts/run explain NAME' to see why.
Dashboard and API: unix:///run/p.sock, http://127.0.0.1:8888
Press Ctrl-C to stop.

"""
    )


def test_a_pipe_gets_lines_without_gaps_or_advice_for_fingers() -> None:
    said = shown(FULL, io.StringIO())
    assert "\n\n" not in said
    assert "Ctrl-C" not in said
    assert "error: local/shop: proxy.shop.prot: unknown field; did you mean 'port'?\n" in said


def test_the_demonstration_has_introduced_itself_before() -> None:
    assert "Watching" not in shown(msgspec.structs.replace(FULL, is_demo=True))


def test_where_all_is_well_there_is_nothing_to_explain() -> None:
    said = shown(served(one("web", {"proxy.web.port": "80"})))
    assert "explain" not in said
    assert "Not served" not in said


def test_without_routes_it_shows_how_to_get_one() -> None:
    said = shown(served())
    assert "No routes on port 8080 yet." in said
    assert "docker run --detach --name whoami traefik/whoami\n  http://whoami.localhost:8080\n" in said
    assert "docker run" not in shown(served(gateway=GatewayPorts(match_domains=("example.org",))))


def test_with_an_unreachable_engine_it_does_not_suggest_starting_containers() -> None:
    problem = Problem(message="there is no socket", provider="local")
    table = msgspec.structs.replace(served().table, engines={"local": EngineStatus("stale")})
    said = shown(msgspec.structs.replace(served(), table=table, problems=(problem,)))
    assert "local\n  ✗ there is no socket\n" in said
    assert "docker run" not in said
    assert "explain" not in said


def test_of_many_the_first_ones_are_shown_and_the_others_counted() -> None:
    many = [one(f"web-{number:02}", {f"proxy.web-{number:02}.prot": "1"}) for number in range(25)]
    hidden = [one(f"db-{number}", Image="postgres:17") for number in range(8)]
    said = shown(served(*many, *hidden))
    assert "and 5 more; 'pilotage routes' lists all\n" in said
    assert said.count("http://web-") == 20
    assert "Not served: db-0, db-1, db-2, db-3, db-4, db-5 and 2 more\n" in said
    assert said.count("did you mean 'port'?") == 3
    assert "and 22 more problems; 'pilotage routes' lists all\n" in said


def test_replicas_and_unready_endpoints_are_counted() -> None:
    compose = {"com.docker.compose.project": "p", "com.docker.compose.service": "api"}
    labels = compose | {"proxy.aliases": "api"}
    said = shown(served(one("a", labels), one("b", labels, Status="Up 1 second (health: starting)")))
    assert re.search(r"api +http://api\.localhost:8080 +http://\S+ and 1 more, 1 of 2 ready\n", said)


def test_control_characters_are_escaped() -> None:
    assert "\x1b" not in shown(served(one("we\x1b[2Jb", Image="postgres:17")))


def test_an_engine_that_is_not_connected_yet_is_named() -> None:
    table = msgspec.structs.replace(FULL.table, engines={"nas": EngineStatus("pending")})
    assert "Not connected yet: nas; routes appear once connected.\n" in shown(
        msgspec.structs.replace(FULL, table=table)
    )


def test_without_a_gateway_it_shows_the_xds_address_and_no_urls() -> None:
    web, ssh = one("web", {"proxy.web.port": "80"}), one("ssh", {"proxy.ssh": "scheme: tcp\nport: 2222:22"})
    said = shown(served(web, ssh, gateway=None, xds_address="127.0.0.1:18000"))
    assert said.endswith(
        """\
Serving 2 routes to the Envoys that connect to 127.0.0.1:18000:

NAME  TARGET
ssh   tcp4://172.17.0.5:22
web   http://172.17.0.5:80

Press Ctrl-C to stop.

"""
    )


def test_without_a_gateway_and_routes_it_suggests_no_url() -> None:
    said = shown(served(gateway=None, xds_address="127.0.0.1:18000"))
    assert "\nNo routes yet for the Envoys that connect to 127.0.0.1:18000.\n" in said
    assert "http://" not in said


def test_places_are_ports_or_addresses_of_their_own() -> None:
    said = shown(served(one("web"), gateway=GatewayPorts(http_address="::1", http_port=81, https_port=8443)))
    assert "Serving 1 route on [::1]:81 and port 8443 (HTTPS):" in said
    assert "Serving 1 route on no HTTP port:" in shown(served(one("web"), gateway=GatewayPorts(http_port=0)))
    assert "Serving 1 route to no Envoy:" in shown(served(one("web"), gateway=None))
