"""A secret in a label is in no output: not of a command, not of the API, not in the log, however it is misspelt."""

from __future__ import annotations

import asyncio
import io
import json
import os
import sys
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pilotage import DockerProviderConfig
from pilotage.containers.parse import from_docker
from pilotage.lint.check import check_files
from pilotage.lint.sources import Sources
from pilotage.output.changelog import ChangeFormatter
from pilotage.output.console import Out
from pilotage.output.explain import explain_name
from pilotage.output.json import document, problem_json
from pilotage.output.reports import github_commands, sarif_log
from pilotage.output.text.explanation import print_explanation
from pilotage.output.text.problems import print_problems
from pilotage.recording.redact import redact_labels
from pilotage.table.diff import diff
from pilotage.table.snapshot import build_snapshot
from pilotage.table.store import build_table
from pilotage.table.table import Table
from pilotage.testing import FakeEngine
from pilotage.xds.capabilities import check_capabilities
from pilotage.xds.options import GatewayOptions
from tests.support.daemon_process import Served
from tests.support.ports import free_port
from tests.support.terminal import Terminal

if TYPE_CHECKING:
    from pathlib import Path

    from pilotage.table.snapshot import EngineSnapshot

CANARY: Final = "kanarie-9f3k2"

# Where people write secrets. `{}` is the secret; keys are below an alias.
PLACES: Final = [
    ("middlewares.request.set_headers.Authorization", "{}"),
    ("middlewares.request.set_headers.X-Api-Key", "Bearer {}"),
    ("middlewares.request.set_headers", "X-Api-Key: {}"),
    ("middlewares.request.set_headers", "{{Host: 'bad {}'}}"),
    ("middlewares.request.set_headers", '{{X-Api-Key: "a\\n{}"}}'),
    ("middlewares.request", "set_headers: [X-Api-Key {}]"),
    ("middlewares.request", "set_headers:\n  Authorization: !{}"),
    ("middlewares.request", "set_headers:\n  Authorization: *{}"),
    ("middlewares.modify_response.add_headers.Set-Cookie", "session={}"),
    ("middlewares.oidc.client_secret", "{}"),
    ("middlewares.oidc", "{{client_id: a, client_secret: {}, issuer_url: 'https://u:{}@id'}}"),
    ("middlewares.oidc", "client_secret: [{}"),
    ("middlewares.oidc", "client_secret {}"),
    ("middlewares.crowdsec.api_key", "{}"),
    ("middlewares.hcaptcha.secret_key", "{}"),
    ("middlewares.forwardauth.password", "{}"),
    ("middlewares.rate_limit", "{{average: 5, token: {}}}"),
    ("middlewares", "oidc:\n  client_secret: '{}"),
    ("middlewares", "{}"),
    ("middlewares", "[{}]"),
    ("middlewares", "{{oidc: {{client_secret: {{{}: 1}}}}}}"),
    ("homepage.url", "https://user:{}@host/"),
    ("homepage.icon", "ftp://user:{}@host/"),
    ("homepage.widget_config.api_key", "{}"),
    ("homepage.widget", "{{password: {}}}"),
    ("healthcheck.path", "/up?token={}"),
    ("healthcheck.path", "up?token={}"),
    ("healthcheck.pasword", "{}"),
    ("load_balance.options.key", "{}"),
    ("rules", "default {{ set header Authorization {} }}"),
    ("rules", "- {{name: a, do: 'set header X {}'}}"),
    ("rules", "- {}"),
    ("rules", "{}"),
    ("host", "http://user:{}@host"),
    ("host", "https://user:longer-than-what-is-shown-of-a-value-in-a-message-{}@host"),
    ("password", "{}"),
    ("client_secret.value", "{}"),
    ("access_log.filters.headers.config.x", "{}"),
]
# Labels without an alias, or with one that does not exist.
OTHER: Final = [
    ("proxy.client_secret", "{}"),
    ("proxy.middlewares.oidc.client_secret", "{}"),
    ("proxy.#7.middlewares.oidc.client_secret", "{}"),
    ("proxy..client_secret", "{}"),
    ("proxy.web", "{{middlewares: {{oidc: {{client_secret: {}}}}}}}"),
    ("proxy.web", "middlewares:\n  oidc:\n    client_secret: {}\n  oidc: 1"),
    ("proxy.web", "client_secret: [{}"),
    ("proxy.web", "{}"),
    ("proxy.*", "{{midlewares: {{oidc: {{client_secret: {}}}}}}}"),
    ("prxy.web.middlewares.oidc.client_secret", "{}"),
    ("proxy.start_endpoint", "https://user:{}@host/"),
    ("proxy.idle_timeout", "https://user:{}@host/"),
]
ALL: Final = [*((f"proxy.web.{key}", text) for key, text in PLACES), *OTHER]


def labels_of(place: tuple[str, str]) -> dict[str, str]:
    key, text = place
    return {key: text.format(*[CANARY] * 3)}


def snapshot_of(labels: dict[str, str]) -> EngineSnapshot:
    """Return an engine with one container, which has these labels."""
    config = DockerProviderConfig("unix:///x", name="local")
    summary = {"Id": "1" * 64, "Names": ["/web"], "State": "running", "Labels": labels, "Image": "nginx"}
    return build_snapshot(config, [from_docker(summary, config)])


def outputs(labels: dict[str, str]) -> dict[str, str]:
    """Return everything that pilotage prints about a container with these labels."""
    snapshot = snapshot_of(labels)
    table = build_table([snapshot])
    explanation = explain_name("web", [snapshot], table)
    text = io.StringIO()
    print_explanation(Out(text), explanation)
    print_problems(Out(text), table.problems)
    gateway = [problem for route in table.routes.values() for problem in check_capabilities(route, GatewayOptions())[0]]
    print_problems(Out(text), gateway)
    from pilotage.discovery.update import Update

    lines = ChangeFormatter().format(Update(Table(), table, diff(Table(), table)))
    return {
        "json": json.dumps(document([snapshot], table)),
        "explain": msgspec.json.encode(explanation).decode(),
        "text": text.getvalue(),
        "problems": json.dumps([problem_json(problem) for problem in (*table.problems, *gateway)]),
        "changes": str(lines),
        "capture": json.dumps(redact_labels(labels)),
    }


def leaks(labels: dict[str, str]) -> dict[str, str]:
    return {what: text for what, text in outputs(labels).items() if CANARY in text}


@pytest.mark.parametrize(
    "place", ALL, ids=lambda place: f"{place[0]}={place[1]}"[:60].encode("unicode_escape").decode()
)
def test_a_secret_is_in_no_output(place: tuple[str, str]) -> None:
    assert leaks(labels_of(place)) == {}


@st.composite
def misspelt(draw: st.DrawFn) -> dict[str, str]:
    """A secret at one of the places, with one letter of its key changed, missing, doubled or in another case."""
    key, text = draw(st.sampled_from([place for place in ALL if not place[1].startswith(("http", "/", "ftp"))]))
    at = draw(st.integers(len("proxy."), len(key) - 1))
    letter = draw(st.sampled_from([*"aest_-.XZ", key[at] * 2, key[at].upper(), ""]))
    return {key[:at] + letter + key[at + 1 :]: text.format(*[CANARY] * 3)}


@given(misspelt())
def test_a_secret_with_a_misspelt_key_is_in_no_output(labels: dict[str, str]) -> None:
    assert {what: text for what, text in leaks(labels).items() if what != "unexpected"} == {}


def test_harmless_values_stay_visible() -> None:
    labels = {
        "proxy.web.port": "8080",
        "proxy.web.middlewares.cidr_whitelist.allow": "10.0.0.0/8",
        "proxy.web.middlewares.request.set_headers.X-Key": CANARY,
        "proxy.web.homepage.description": "Our shop",
        "proxy.web.scheme": "htps",
    }
    found = outputs(labels)
    for shown in ("8080", "10.0.0.0/8", "Our shop", "X-Key", "htps"):
        assert shown in found["explain"], shown
    assert "did you mean 'https'?" in found["problems"]
    assert CANARY not in str(found)


def test_check_shows_no_secret_of_a_compose_file(tmp_path: Path) -> None:
    services = {f"s{n}": {"image": "x", "labels": labels_of(place)} for n, place in enumerate(ALL)}
    # Compose replaces a dollar sign, which none of the places has.
    (tmp_path / "compose.yml").write_text(yaml.safe_dump({"services": services}))
    routes = {f"r{n}": {key.partition(".")[0]: text.format(*[CANARY] * 3)} for n, (key, text) in enumerate(PLACES)}
    (tmp_path / "routes.yml").write_text(yaml.safe_dump(routes))
    sources = Sources()
    found = check_files([str(tmp_path / name) for name in ("compose.yml", "routes.yml")], {}, sources)
    text, on_terminal = io.StringIO(), Terminal()
    print_problems(Out(text), found.problems)
    print_problems(Out(on_terminal), found.problems, line_of=sources.line)
    assert on_terminal.getvalue().count(" | ") > len(found.problems)
    shown = text.getvalue() + on_terminal.getvalue() + json.dumps([problem_json(it) for it in found.problems])
    shown += "\n".join(github_commands(found.problems, "/")) + json.dumps(
        sarif_log(found.files, found.problems, "/", "1.2.3")
    )
    assert len(found.problems) > len(ALL) / 2
    assert CANARY not in shown


# ---- the whole


async def command(folder: Path, *args: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pilotage", *args),
        env={**os.environ, "PILOTAGE_SOCKET": str(folder / "api.sock")},
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    return out.decode()


async def events(session: aiohttp.ClientSession, url: str) -> str:
    async with session.get(url) as answer:
        return (await answer.content.readuntil(b"event: table")).decode()


@pytest.mark.process
@pytest.mark.slow
async def test_the_daemon_its_api_and_every_command_show_no_secret(tmp_path: Path) -> None:
    port = free_port()
    secret = {"proxy.known.middlewares.request.set_headers.X-Api-Key": CANARY, "proxy.aliases": "known"}
    async with FakeEngine() as engine:
        for number, place in enumerate(ALL):
            engine.add(f"c{number}", networks=(), ports=("9:9",), labels={"proxy.aliases": f"c{number}"} | {
                key.replace(".web", f".c{number}"): text for key, text in labels_of(place).items()
            })  # fmt: skip
        engine.add("known", networks=(), ports=("9:9",), labels=secret)
        settings = {
            "providers": {"docker": {"local": engine.url}},
            "gateway": {"http": f"127.0.0.1:{free_port()}", "log_level": "debug"},
        }
        options = ("--api", f"127.0.0.1:{port}", "--log-level", "debug")
        served = Served(tmp_path, port, settings, *options)
        await served.start()
        try:
            shown: dict[str, Any] = {}
            unix = aiohttp.ClientSession("http://pilotage", connector=aiohttp.UnixConnector(str(tmp_path / "api.sock")))
            async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as tcp, unix:
                for session in (tcp, unix):
                    paths = ["/", "/openapi.json", "/metrics", "/metrics/envoy", "/readyz"]
                    paths += [
                        f"/v1/{name}" for name in ("routes", "containers", "problems", "engines", "explain/known")
                    ]
                    paths += ["/v1/routes/known", "/v1/changes", "/v1/certificates"]
                    paths += [f"/v1/explain/c{number}" for number in range(len(ALL))] if session is tcp else []
                    for path in paths:
                        async with session.get(path) as answer:
                            shown[f"{path} {session is tcp}"] = await answer.text()
                    shown[f"events {session is tcp}"] = await events(session, "/v1/events")
                pages = ["/", "/routes", "/problems", "/events", *(f"/routes/c{number}" for number in range(len(ALL)))]
                for path in pages:
                    async with tcp.get(path, headers={"Accept": "text/html"}) as answer:
                        assert answer.status == 200, path
                        shown[f"page {path}"] = await answer.text()
                async with tcp.get("/v1/explain/known?show_secrets=1") as answer:
                    assert answer.status == 403
                    shown["refusal"] = await answer.text()
                async with unix.get("/v1/explain/known?show_secrets=1") as answer:
                    assert CANARY in await answer.text()
            for args in (["routes"], ["ps", "--format", "json"], ["explain", "known"], ["explain", "knwn"]):
                shown[" ".join(args)] = await command(tmp_path, *args)
            for args in (["routes"], ["explain", "known"], ["capture"]):
                shown[f"own {args}"] = await command(tmp_path, *args, "--engine", f"local={engine.url}")
            assert CANARY in await command(tmp_path, "explain", "known", "--show-secrets")
            assert CANARY not in str(shown), [what for what, text in shown.items() if CANARY in text]
            assert "X-Api-Key" in shown["explain known"]
        finally:
            await served.stop()
        assert CANARY not in served.log
        assert "added route c0" in served.log
