"""Files as GoDoxy's users write them, and what ``pilotage check`` says about each."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import pytest

from pilotage import DockerProviderConfig, from_docker
from pilotage.cli.main import run
from pilotage.config.engines import DEFAULT_POLICY
from pilotage.routes import build_routes
from pilotage.xds.middlewares import route_policy

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Check = Callable[..., tuple[int, list[str]]]


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Check:
    """Write files, run ``pilotage check`` on the first one; return its exit status and its lines without the last."""
    monkeypatch.chdir(tmp_path)
    for name in ("PORT", "LAN", "SETUP", "CF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_HOST", "unix:///var/run/docker.sock")

    def checked(files: dict[str, str]) -> tuple[int, list[str]]:
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(textwrap.dedent(text).lstrip("\n"))
        status = run(["check", next(iter(files))])
        *lines, last = capsys.readouterr().out.splitlines()
        assert last.startswith(next(iter(files)))
        return status, lines

    return checked


def service(name: str, *labels: str, more: str = "") -> str:
    """Return a Compose file with one service: the lines of its labels, and other keys of the service."""
    lines = "".join(f"      {line}\n" for label in labels for line in label.splitlines())
    return f"services:\n  {name}:\n    image: acme/{name}\n    container_name: {name}\n{more}" + (
        f"    labels:\n{lines}" if labels else ""
    )


def test_a_missing_listener_is_reported_before_anything_starts(check: Check) -> None:
    text = service("db", "proxy.db.scheme: tcp", "proxy.db.port: 3306")
    status, lines = check({"compose.yml": text})
    assert status == 1
    (line,) = lines
    assert line.startswith(
        "error: compose.yml:7:7: db: proxy.db.port: a tcp route needs a port to listen on, but none is"
    )
    assert line.endswith("; write both ports: proxy.db.port: 3306:3306")


@pytest.mark.parametrize(
    "section",
    [
        "webui:\n  aliases: [godoxy]",
        "entrypoint:\n  support_proxy_protocol: false",
        "defaults:\n  healthcheck:\n    interval: ${INTERVAL}",
    ],
)
def test_sections_that_keep_nobody_out_are_warnings(check: Check, section: str) -> None:
    status, lines = check({"pilotage.yml": f"{section}\nproviders:\n  docker:\n    local: $DOCKER_HOST\n"})
    name = section.partition(":")[0]
    assert status == 0
    (line,) = lines
    assert line.startswith(
        f"warning: pilotage.yml:1:1: {name}: '{name}' is a GoDoxy field that pilotage does not support"
    )
    assert ", and has no effect" in line


def test_a_section_that_keeps_somebody_out_is_an_error(check: Check) -> None:
    text = "entrypoint:\n  middlewares:\n    - use: CIDRWhitelist\n      allow: [10.0.0.0/8]\n"
    assert check({"pilotage.yml": text})[0] != 0


def test_variables_in_list_items_are_filled_in_on_both_sides(check: Check) -> None:
    labels = ("- proxy.aliases=adg,setup", "- proxy.$$1.port=80", "- proxy.${SETUP:-setup}.port=3000")
    assert check({"compose.yml": service("adg", *labels)}) == (0, [])


def test_names_are_checked_although_a_variable_is_not_set(check: Check) -> None:
    labels = ("proxy.shop.prot: ${PORT}", "proxy.shop.middlewares.cidr_whitelist.alow: ${LAN}")
    status, lines = check({"compose.yml": service("shop", *labels)})
    assert status == 1
    assert [line.partition(" ")[0] for line in lines] == ["warning:", "error:", "warning:", "error:"]
    assert "because the variable PORT is not set" in lines[0]
    assert "did you mean 'port'?" in lines[1]
    assert "because the variable LAN is not set" in lines[2]
    assert "did you mean 'allow'?" in lines[3]
    right = ("proxy.shop.port: ${PORT}", "proxy.shop.middlewares.cidr_whitelist.allow: ${LAN}")
    assert check({"compose.yml": service("shop", *right), ".env": "PORT=80\nLAN=10.0.0.0/8\n"}) == (0, [])


def test_a_mapping_in_a_list_of_labels_is_shown_as_text(check: Check) -> None:
    status, lines = check({"compose.yml": service("app", "- proxy.network: web")})
    assert status == 1
    assert lines == [
        "error: compose.yml:6:9: app: a label in a list must be key=value, not a mapping; write - proxy.network=web"
    ]


def test_included_files_are_checked(check: Check) -> None:
    status, lines = check(
        {
            "compose.yaml": "include:\n  - shop/compose.yaml\n",
            "shop/compose.yaml": service("shop", "proxy.shop.prot: 80"),
        }
    )
    assert status == 1
    assert lines == ["error: shop/compose.yaml:6:7: shop: proxy.shop.prot: unknown field; did you mean 'port'?"]


def test_how_long_a_log_is_kept_may_be_a_mapping(check: Check) -> None:
    text = "app:\n  host: 10.0.0.5\n  access_log:\n    path: /var/log/app.log\n    retention: {days: 30}\n"
    status, lines = check({"routes.yml": text})
    assert status == 0
    assert not any(line.startswith("error:") or "not a retention" in line for line in lines)


def test_half_of_a_refused_port_is_not_in_force(check: Check) -> None:
    labels = {"proxy.adg.scheme": "udp", "proxy.adg.port": "20000:dns"}
    status, lines = check({"compose.yml": service("adg", *(f"{key}: {text}" for key, text in labels.items()))})
    assert status == 1
    assert "'dns' in '20000:dns' is not a port number" in lines[0]
    summary = {
        "Id": "1" * 64,
        "Names": ["/adg"],
        "State": "running",
        "Labels": labels,
        "Ports": [{"PrivatePort": 3000, "PublicPort": 3000, "Type": "tcp"}],
        "NetworkSettings": {"Networks": {"bridge": {"IPAddress": "172.17.0.2"}}},
    }
    container = from_docker(summary, DockerProviderConfig("unix:///run/docker.sock"))
    (route,) = build_routes(container, policy=DEFAULT_POLICY).routes
    assert route.port.listening == 0
    assert route.excluded
    assert route.listen is None
    assert route.endpoints == ()


def test_a_file_of_middlewares_is_not_taken_for_routes(check: Check) -> None:
    status, lines = check({"middlewares.yml": "lan:\n  - use: CIDRWhitelist\n    allow: [10.0.0.0/8]\n"})
    assert not any("write host and port" in line for line in lines)
    assert status == 0 or "middleware" in lines[0]


def test_a_setting_of_the_container_below_an_alias_says_where_it_belongs(check: Check) -> None:
    _, lines = check({"compose.yml": service("app", "proxy.*.idle_timeout: 1h", "proxy.app.exclude: true")})
    assert "write proxy.idle_timeout" in lines[0]
    assert "write proxy.exclude" in lines[1]


def test_labels_without_effect_are_warnings(check: Check) -> None:
    status, lines = check({"compose.yml": service("app", "proxy.app.alias: shop", "Proxy.app.port: 8080")})
    assert status == 0
    assert {line.partition(":")[0] for line in lines} == {"warning"}
    assert len(lines) == 2


def test_a_label_that_does_not_exist_leads_to_one_that_does(check: Check) -> None:
    status, lines = check({"compose.yml": service("worker", 'proxy.disabled: "true"')})
    assert status == 1
    assert lines == [
        "error: compose.yml:6:7: worker: proxy.disabled: unknown label; did you mean 'proxy.exclude'?",
    ]


def test_label_files_are_read_and_labels_of_swarm_services_are_checked_with_a_note(check: Check) -> None:
    more = "    label_file: ./shop.labels\n    deploy:\n      labels:\n        proxy.shop.prot: 8080\n"
    status, lines = check({"compose.yml": service("shop", more=more), "shop.labels": "proxy.shop.prt=80\n"})
    assert status == 1
    deployed, wrong, note = sorted(lines)
    assert deployed == "error: compose.yml:8:9: shop: proxy.shop.prot: unknown field; did you mean 'port'?"
    assert wrong == "error: shop.labels:1:1: shop: proxy.shop.prt: unknown field; did you mean 'port'?"
    assert note.startswith(
        "warning: compose.yml:7:7: shop: proxy.shop.prot: labels under 'deploy' are those of a swarm"
    )


def test_headers_may_be_a_list_of_one_line_mappings(check: Check) -> None:
    text = "shop:\n  host: 10.0.0.5\n  middlewares:\n    request:\n      set_headers: [{X-A: '1'}, {X-B: '2'}]\n"
    assert check({"routes.yml": text}) == (0, [])
    policy = route_policy({"request": {"set_headers": [{"X-A": "1"}, {"X-B": "2"}]}})
    assert policy.problems == ()
    assert len(policy.request.put) == 2


def test_names_that_can_never_be_a_host_are_said_before_anything_starts(check: Check) -> None:
    aliases = '"bücher.example.com, https://url.example.com, path.example.com/app, .lead.example.com, ok"'
    status, lines = check({"compose.yml": service("a", f"proxy.aliases: {aliases}")})
    assert status == 1
    assert [line.partition("proxy.aliases: ")[2].partition("; ")[2] for line in lines] == [
        "write url.example.com",
        "write path.example.com",
        "write lead.example.com, or *.lead.example.com for the names below it",
    ]
