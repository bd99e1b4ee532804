"""Examples of the documentation work: their YAML passes `pilotage check`, their commands and options exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click
import pytest

from pilotage.cli.main import cli
from tests.support.agents import AgentCertificates

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.commandline import Said

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
# Examples that are wrong on purpose, or name files of a real machine.
FAULTY = {
    "docs/how-to/own-ports.md": "tls_termination",  # needs certificates
    "README.md": "admin.pot",
    "docs/start/first-routes.md": "hi.prot",
    "docs/how-to/https.md": "letsencrypt",
    "docs/reference/middlewares.md": "lan@file",
}


class Example(NamedTuple):
    page: str
    text: str

    @property
    def file(self) -> str:
        """The name under which `pilotage check` knows what it is."""
        if re.search(r"^services:", self.text, re.MULTILINE):
            return "compose.yml"
        is_config = re.search(
            r"^(providers|gateway|api|match_domains|autocert|oidc|captcha|cloudflare|policy|error_pages|inbound_mtls_profiles):",
            self.text,
            re.MULTILINE,
        )
        return "pilotage.yml" if is_config else "routes.yml"


def blocks(language: str) -> list[Example]:
    pattern = re.compile(rf"^```{language}\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    return [Example(str(page.relative_to(ROOT)), text) for page in PAGES for text in pattern.findall(page.read_text())]


def yaml_examples() -> list[Example]:
    """All YAML; labels that stand alone are put into a service."""
    found = []
    for page, text in blocks("yaml"):
        if text.startswith("labels:"):
            indented = "".join(f"    {line}\n" for line in text.splitlines())
            found.append(Example(page, f"services:\n  app:\n    image: app\n{indented}"))
        elif not text.startswith("repos:"):  # a configuration of pre-commit
            found.append(Example(page, text))
    return found


def commands() -> list[Example]:
    """Every call of pilotage in a shell block, without what a pipe, a comment or a redirection adds."""
    return [
        Example(page, re.split(r"\s[#|>]", line)[0])
        for page, text in blocks("sh")
        for line in text.replace("\\\n", "").splitlines()
        if line.startswith("pilotage ")
    ]


_CERTIFICATES = AgentCertificates()


@pytest.mark.parametrize("example", yaml_examples(), ids=lambda example: example.page)
def test_a_yaml_example_has_no_problems(
    example: Example, tmp_path: Path, pilotage: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NODE2_HOST", "node2")
    monkeypatch.setenv("CF_API_TOKEN", "token")
    for name in re.findall(r"[\w/.-]+\.pem|\btoken\b|\b\w+\.yml$", example.text, re.MULTILINE):
        if not name.startswith("/"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text("")
    for address in re.findall(r"^ +- ([\d.]+:\d+)$", example.text, re.MULTILINE):
        _CERTIFICATES.write_zip(tmp_path / "certs" / f"{address}.zip")
    (tmp_path / "routes.yml").touch()
    (tmp_path / example.file).write_text(example.text)
    said = pilotage("check", example.file)
    fault = FAULTY.get(example.page, "")
    if fault and fault in example.text:
        assert fault in said.out + said.err
        assert said.status == 1
    else:
        assert said.status == 0, said.out + said.err


@pytest.mark.parametrize("example", commands(), ids=lambda example: f"{example.page}: {example.text}")
def test_a_command_and_its_options_exist(example: Example) -> None:
    _, name, *words = shlex.split(example.text)
    if name.startswith("--"):
        assert any(name in option.opts for option in cli.get_params(click.Context(cli)))
        return
    cli.commands[name].make_context(name, [word for word in words if word != "…"])
