"""What the README shows is true: its example runs on a real engine, and every snippet prints what it says."""

from __future__ import annotations

import ast
import contextlib
import inspect
import io
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
import yaml

from tests.support.images import WEB

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.engines import Engine

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Snippet(NamedTuple):
    """A Python block and the text block right after it, which shows what it prints."""

    code: str
    prints: str


def snippets() -> list[Snippet]:
    blocks = BLOCK.findall(README)
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


# What the images of the example would expose besides port 80 of the image that stands in for them.
EXPOSED = {"postgres:17": "5432"}


@pytest.fixture(scope="module")
def example(docker_engine: Engine) -> Iterator[Engine]:
    """The services of the README's example, running."""
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
    """Put one text for every IPv4 address: the engine hands them out as it likes."""
    return re.sub(r"\b\d+\.\d+\.\d+\.\d+\b", "IP", text)


async def run(code: str) -> str:
    """Run Python with ``await`` at its top level and return what it prints."""
    printed = io.StringIO()
    compiled = compile(code, "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    with contextlib.redirect_stdout(printed):
        coroutine = eval(compiled, {"__name__": "readme"})
        if inspect.isawaitable(coroutine):
            await coroutine
    return printed.getvalue()


@pytest.mark.parametrize("at", range(len(SNIPPETS)))
async def test_a_snippet_prints_what_the_readme_shows(
    at: int, example: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", example.host)
    snippet = SNIPPETS[at]
    assert without_addresses(await run(snippet.code)) == without_addresses(snippet.prints)


def test_every_python_snippet_shows_what_it_prints() -> None:
    assert len(SNIPPETS) == README.count("```python") > 3


def test_every_link_leads_to_a_file() -> None:
    for file in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")):
        links = re.findall(r"\]\((?!https?://|#)([^)#]+)", file.read_text())
        missing = [link for link in links if not (file.parent / link).exists()]
        assert missing == [], f"{file.name} links to what is not there"


def test_the_commands_of_the_readme_are_there() -> None:
    for script in re.findall(r"^sh (\S+)", README, re.MULTILINE):
        assert (ROOT / script).is_file()
