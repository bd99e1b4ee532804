"""README and docs/reference/library.md are correct: the example runs on a real engine, snippets print their output."""

from __future__ import annotations

import ast
import contextlib
import inspect
import io
import re
import runpy
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
import yaml

from pilotage import DockerProviderConfig, discover
from pilotage.api.listen import Listen
from pilotage.config.serve import API_PORT
from pilotage.demo.site import DEMO_POLICY, demo_site
from pilotage.output.banner import Banner, print_banner
from pilotage.output.console import Out
from tests.support.example_engine import at, one, recording, recording_file
from tests.support.images import WEB
from tests.support.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.commandline import Said
    from tests.support.engines import Engine

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
LIBRARY = (ROOT / "docs" / "reference" / "library.md").read_text()
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Snippet(NamedTuple):
    """A Python block and the text block after it, which has its output."""

    code: str
    prints: str


def snippets() -> list[Snippet]:
    blocks = BLOCK.findall(LIBRARY)
    after = [*blocks[1:], ("", "")]
    return [
        Snippet(code, text)
        for (kind, code), (next_kind, text) in zip(blocks, after, strict=True)
        if kind == "python" and next_kind == "text"
    ]


SNIPPETS = snippets()


def services() -> dict[str, dict[str, object]]:
    (compose,) = (text for kind, text in BLOCK.findall(README) if kind == "yaml")
    found: dict[str, dict[str, object]] = yaml.safe_load(compose)["services"]
    return found


# Ports that the example's images expose, besides port 80 of their stand-in.
EXPOSED = {"postgres:17": "5432"}


@pytest.fixture(scope="module")
def example(docker_engine: Engine) -> Iterator[Engine]:
    """The services of the README's example on a real engine."""
    with docker_engine.scope():
        for service in services().values():
            port = EXPOSED.get(str(service["image"]))
            labels = service.get("labels")
            options = ("--expose", port) if port else ()
            docker_engine.run(
                str(service["container_name"]), WEB, labels if isinstance(labels, dict) else None, *options
            )
        yield docker_engine


def without_addresses(text: str) -> str:
    """Replace every IPv4 address by the same text, because the engine chooses them."""
    return re.sub(r"\b\d+\.\d+\.\d+\.\d+\b", "IP", text)


async def run(code: str) -> str:
    """Run Python with top-level ``await`` and return its output."""
    printed = io.StringIO()
    compiled = compile(code, "library.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    with contextlib.redirect_stdout(printed):
        coroutine = eval(compiled, {"__name__": "readme"})
        if inspect.isawaitable(coroutine):
            await coroutine
    return printed.getvalue()


@pytest.mark.parametrize("at", range(len(SNIPPETS)))
async def test_a_shell_snippet_prints_its_documented_output(
    at: int, example: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", example.host)
    snippet = SNIPPETS[at]
    assert without_addresses(await run(snippet.code)) == without_addresses(snippet.prints)


def test_every_python_snippet_documents_its_output() -> None:
    assert len(SNIPPETS) == LIBRARY.count("```python") > 3
    assert "```python" not in README


def shown_after(sentence: str) -> str:
    """Return the text block after a sentence of the README."""
    (block,) = re.findall(re.escape(sentence) + r"\n\n```text\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    assert isinstance(block, str)
    return block


def test_the_example_makes_the_routes_that_are_shown(tmp_path: Path, pilotage: Callable[..., Said]) -> None:
    exposed = {"traefik/whoami:latest": 80, "ghcr.io/acme/shop:2.1": 8080, "postgres:17": 5432}
    containers = [
        one(
            str(service["container_name"]),
            labels if isinstance(labels := service.get("labels"), dict) else None,
            Image=service["image"],
            Ports=[{"PrivatePort": exposed[str(service["image"])], "Type": "tcp"}],
            NetworkSettings=at(f"172.17.0.{number}"),
        )
        for number, service in enumerate(services().values(), 2)
    ]
    said = pilotage("routes", "--replay", recording_file(tmp_path, recording(containers)))
    assert said.out == shown_after("`pilotage routes` prints:")


async def test_the_demonstration_prints_its_documented_output(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("COLUMNS", "100")
    async with contextlib.AsyncExitStack() as stack:
        engine = await stack.enter_async_context(demo_site())
        config = DockerProviderConfig(engine.url, name="demo")
        discovery = await stack.enter_async_context(discover([config], policy=DEMO_POLICY))
        await discovery.ready()
        table = discovery.table
    api = Listen(host="127.0.0.1", port=API_PORT)
    served = Banner(table=table, problems=table.problems, api=(str(api),), is_demo=True)
    printed = Terminal()
    print_banner(Out(printed), served, command="sh scripts/run")
    shown = shown_after("Without a container engine the first command prints:")
    introduction, _, rest = shown.partition("\n")
    assert introduction == "No container engine responds here, so this is the built-in demonstration."
    assert without_addresses(rest.strip()) == without_addresses(printed.getvalue().strip())


def test_every_link_leads_to_a_file() -> None:
    for file in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")):
        links = re.findall(r"\]\((?!https?://|#)([^)#]+)", file.read_text())
        missing = [link for link in links if not (file.parent / link).exists()]
        assert missing == [], f"{file.name} links to what is not there"


@pytest.mark.parametrize("repository", ["", "https://git.example.com/pilotage/"])
def test_no_link_of_the_description_on_pypi_is_relative(repository: str) -> None:
    build = runpy.run_path(str(ROOT / "hatch_build.py"))
    description = build["with_absolute_links"](README, repository)
    links = re.findall(r"\]\(([^)]+)\)", description)
    assert all(link.startswith("https://git.example.com/pilotage/blob/HEAD/") for link in links)
    assert bool(links) == bool(repository)
    assert "docs/start/install.md" in description


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 120


def test_the_commands_of_the_readme_exist() -> None:
    for script in re.findall(r"^sh (\S+)", README, re.MULTILINE):
        assert (ROOT / script).is_file()


def test_the_run_script_serves_by_default(tmp_path: Path) -> None:
    script = (ROOT / "scripts" / "run").read_text()
    # In a checkout with a prepared environment, whose pilotage prints its arguments.
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "run").write_text(script)
    (tmp_path / "scripts" / "environment.sh").write_text("prepare() { :; }\n")
    program = tmp_path / ".venv" / "bin" / "pilotage"
    program.parent.mkdir(parents=True)
    program.write_text('#!/bin/sh\necho "$PILOTAGE_COMMAND: $*"\n')
    program.chmod(0o755)
    for words, asked in (([], "serve --or-demo"), (["explain", "a b"], "explain a b")):
        done = subprocess.run(
            ["sh", "scripts/run", *words], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=30
        )
        assert done.stdout == f"sh scripts/run: {asked}\n"
