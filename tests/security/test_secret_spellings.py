"""A secret in any field, in any of the spellings in which people write secrets into texts, is in no output."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pilotage.core.secrets import clean, clean_value
from pilotage.daemon import change_log
from pilotage.daemon import logging as logs
from pilotage.discovery.update import Update
from pilotage.labels.keys import CONTAINER_OPTIONS
from pilotage.lint.check import check_files
from pilotage.output.json import problem_json
from pilotage.recording.redact import redact_labels, without_passwords
from pilotage.routes.mappings import StructKind
from pilotage.routes.middlewares import MIDDLEWARES
from pilotage.routes.schema import ROUTE
from pilotage.table.diff import diff
from pilotage.table.store import build_table
from pilotage.table.table import Table
from pilotage.testing import FakeEngine
from tests.security.test_secrets import CANARY, command, outputs, snapshot_of
from tests.support.daemon_process import Served
from tests.support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SPELLINGS: Final = [
    # user information, with and without a scheme
    "https://user:{}@host/x", "https://{}@host/x", "https://{}:x-oauth-basic@host", "ftp://user:{}@host:21/@x",
    "user:{}@host", "{}:x@host", "//user:{}@host/x", "//{}@host", "mailto:user:{}@host", "mailto:{}@host",
    "user%3A{}@host", "user:{}%40host", "https://user%3A{}@host", "https%3A%2F%2Fuser%3A{}%40host%2Fx",
    "user%253A{}%2540host", "https://a:b@c,user:{}@host", "amqp://user:p@{}@host", "user:p/{}@host", "user:{}#x@host",
    "user:{}@tcp(host:3306)/db", "ssh://user:{}@host:22",
    # parameters
    "/x?token={}", "/x?a=1&sig={}", "/cb#access_token={}", "https://h/cb#state=1&access_token={}", "/x;token={}",
    "https://h/x;a=1;jsessionid={}?b", "/x%3Ftoken%3D{}", "/x?token%3D{}", "/x%3Fa=1%26token={}", "?a:b={}", "?a[b]={}",
    # headers
    "X-Key: {}", "X-Key:{}", "X-Api-Key = {}", "Authorization: Bearer {}", "Authorization: {}", "Cookie: session={}",
    "Accept, X-Key: {}", "Api-Token: {}",
]  # fmt: skip
"""`{}` is the secret."""


def fields_of(kind: StructKind, prefix: str = "") -> Iterator[str]:
    """Yield the dotted path of every field, in its first spelling."""
    for name, field in kind.fields.items():
        yield f"{prefix}{name}"
        if isinstance(field.kind, StructKind):
            yield from fields_of(field.kind, f"{prefix}{name}.")


OPTIONS: Final = sorted(
    f"middlewares.{name}.{option}"
    for name, below in ROUTE.visible.at(("middlewares",)).fields.items()
    if name in MIDDLEWARES
    for option in (*below.fields, "x-unknown")
)
FIELDS: Final = [*fields_of(ROUTE), *OPTIONS]
KEYS: Final = [
    *(f"proxy.web.{field}" for field in FIELDS),
    *(f"proxy.{option}" for option in CONTAINER_OPTIONS),
    "proxy.web", "proxy.hosts", "proxy.*.host", "proxy.host", "prxy.web.host", "proxy.#1.host",
]  # fmt: skip
JUNK: Final = st.sampled_from(["", "p", "1", "%20", "=", "+", "!", "a.b-c_"])


@st.composite
def spelt(draw: st.DrawFn) -> str:
    """A secret in one of the spellings, perhaps surrounded by other characters, and by other text."""
    text = draw(st.sampled_from(SPELLINGS)).format(f"{draw(JUNK)}{CANARY}{draw(JUNK)}")
    return draw(st.sampled_from(["{}", "see {}", "{} and more", "a, {}", "({})"])).format(text)


@st.composite
def labels_with_secret(draw: st.DrawFn) -> dict[str, str]:
    """A secret in any field: in a label of its own, or in YAML, in one of its notations."""
    key, text = draw(st.sampled_from(KEYS)), draw(spelt())
    more = draw(st.sampled_from([{}, {"proxy.idle_timeout": "1h"}, {"proxy.web.scheme": "tcp"}]))
    if key.startswith("proxy.web.") and draw(st.booleans()):
        *outer, last = key.removeprefix("proxy.").split(".")
        at = draw(st.integers(1, len(outer)))
        value: Any = {last: draw(st.sampled_from([text, [text], [text, text], ["a", {"b": text}]]))}
        for name in reversed(outer[at:]):
            value = {name: value}
        flow = draw(st.sampled_from([True, False, None]))
        return more | {".".join(["proxy", *outer[:at]]): yaml.safe_dump(value, default_flow_style=flow)}
    return more | {key: text}


def shown(labels: dict[str, str]) -> dict[str, str]:
    """Return every output about a container with these labels, and the log of its arrival."""
    table = build_table([snapshot_of(labels)])
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logs._Text())  # without the limit on repeated messages
    change_log.log.addHandler(handler)
    level, change_log.log.level = change_log.log.level, logging.DEBUG
    change_log.log.setLevel(logging.DEBUG)
    try:
        change_log.log_changes(Update(Table(), table, diff(Table(), table)))
    finally:
        change_log.log.removeHandler(handler)
        change_log.log.setLevel(level)
    return outputs(labels) | {"log": stream.getvalue()}


def leaks(labels: dict[str, str]) -> dict[str, str]:
    return {what: text for what, text in shown(labels).items() if CANARY in text}


@settings(max_examples=200)
@given(labels_with_secret())
@example({"proxy.web.host": f"user:{CANARY}@h"})
@example({"proxy.network": f"user:{CANARY}@h"})
@example({"proxy.aliases": f"user:{CANARY}@h"})
@example({"proxy.web.load_balance.link": f"user:{CANARY}@h"})
@example({"proxy.web.middlewares.forwardauth.headers": f"X-Key: {CANARY}"})
@example({"proxy.web.middlewares.request.hide_headers": f"[X-A, 'X-Key: {CANARY}']"})
def test_a_secret_in_any_field_and_spelling_is_in_no_output(labels: dict[str, str]) -> None:
    assert leaks(labels) == {}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_no_field_shows_a_secret_in_a_spelling(spelling: str) -> None:
    labels = {f"proxy.web.{field}": spelling.format(CANARY) for field in FIELDS if "." not in field}
    assert leaks(labels) == {}
    for key in KEYS:
        assert CANARY not in json.dumps(redact_labels({key: spelling.format(CANARY)})), key
    text = spelling.format(CANARY)
    assert CANARY not in clean_value(text)
    if not spelling.startswith(
        ("X-", "Accept", "Api", "Authorization: {", "Cookie")
    ):  # values of headers are for fields
        assert CANARY not in clean(f"see {text} there")
        assert CANARY not in without_passwords(text)


@given(spelt())
def test_what_is_cleaned_stays_as_it_is(text: str) -> None:
    assert clean(clean(text)) == clean(text)
    assert clean_value(clean_value(text)) == clean_value(text)


YAML: Final = [
    "middlewares:\n  oidc: {client_secret: &a %, scopes: *a}",
    "middlewares:\n  oidc: {scopes: &a %, client_secret: *a}",
    "middlewares: {oidc: {client_secret: &% x, scopes: *%}}",
    "middlewares: {request: {set_headers: &a {X-Key: {b: %}}, add_headers: *a}}",
    "x: &a {client_secret: %}\nmiddlewares: {oidc: {<<: *a}}",
    "x: &a [%, {b: %}]\nhomepage: {description: *a}",
    "homepage: &a {description: %}\nx: {y: *a}\n",
    "homepage: {description: !% x}",
    "x: &a\n  - %\nhost: *a",
]


@pytest.mark.parametrize("text", YAML)
def test_a_recording_keeps_no_secret_that_an_anchor_carries_elsewhere(text: str) -> None:
    for secret in (CANARY, f"user:{CANARY}@h"):
        assert CANARY not in str(redact_labels({"proxy.web": text.replace("%", secret)}))


def test_check_shows_no_spelling_of_a_secret(tmp_path: Path) -> None:
    services, routes = {}, {}
    for number, spelling in enumerate(SPELLINGS):
        text = spelling.format(CANARY)
        services[f"s{number}"] = {"image": "x", "labels": dict.fromkeys(KEYS, text)}
        routes[f"r{number}"] = {field: text for field in FIELDS if "." not in field}
    (tmp_path / "compose.yml").write_text(yaml.safe_dump({"services": services}))
    (tmp_path / "routes.yml").write_text(yaml.safe_dump(routes))
    found = check_files([str(tmp_path / name) for name in ("compose.yml", "routes.yml")], {})
    assert len(found.problems) > len(SPELLINGS)
    assert CANARY not in json.dumps([problem_json(problem) for problem in found.problems])


@pytest.mark.process
@pytest.mark.slow
async def test_the_daemon_and_its_commands_show_no_spelling_of_a_secret(tmp_path: Path) -> None:
    port = free_port()
    async with FakeEngine() as engine:
        for number, spelling in enumerate(SPELLINGS):
            alias, text = f"c{number}", spelling.format(CANARY)
            for part in range(0, len(FIELDS), 12):
                labels = {f"proxy.{alias}.{field}": text for field in FIELDS[part : part + 12]}
                engine.add(f"{alias}-{part}", networks=(), ports=("9:9",), labels=labels | {"proxy.aliases": alias})
        for number, option in enumerate(CONTAINER_OPTIONS):
            labels = {f"proxy.{option}": f"user:{CANARY}@host", "proxy.idle_timeout": "1h"}
            engine.add(f"option{number}", networks=(), ports=("9:9",), labels=labels)
        config = {
            "providers": {"docker": {"local": engine.url}},
            "gateway": {"http": f"127.0.0.1:{free_port()}", "log_level": "debug"},
        }
        served = Served(tmp_path, port, config, "--api", f"127.0.0.1:{port}", "--log-level", "debug")
        await served.start()
        try:
            said: dict[str, str] = {}
            async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
                names = [f"explain/c{number}" for number in range(len(SPELLINGS))]
                names += [f"explain/option{number}" for number in range(len(CONTAINER_OPTIONS))]
                for path in (*(f"/v1/{name}" for name in ("routes", "containers", "problems", *names)), "/metrics"):
                    async with session.get(path) as answer:
                        said[path] = await answer.text()
            for args in (["routes"], ["ps"], ["capture", "--engine", f"local={engine.url}"]):
                said[" ".join(args)] = await command(tmp_path, *args)
            assert [what for what, text in said.items() if CANARY in text] == []
            await asyncio.sleep(0)
        finally:
            await served.stop()
        assert [line for line in served.log.splitlines() if CANARY in line] == []
