"""``providers.agents``: addresses, mappings, certificates, and every mistake with its place and remedy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pilotage.config.load import read_config
from pilotage.core.errors import ConfigError
from tests.support.agents import AgentCertificates

if TYPE_CHECKING:
    from pathlib import Path

    from pilotage.config.load import Config
    from pilotage.core.problems import Problem

_MADE = AgentCertificates()


def config(folder: Path, agents: str, more: str = "") -> Config:
    text = f"providers:\n  agents: {agents}\n{more}"
    return read_config(text, file="pilotage.yml", folder=folder, env={})


def refused(folder: Path, agents: str, more: str = "") -> list[Problem]:
    with pytest.raises(ConfigError) as caught:
        config(folder, agents, more)
    return list(caught.value.problems)


def test_an_address_is_enough_and_names_its_archive(tmp_path: Path) -> None:
    path = _MADE.write_zip(tmp_path / "certs" / "Attic.lan:8890.zip")
    found = config(tmp_path, "['Attic.lan:8890']")
    (engine,) = found.providers
    assert (engine.url, engine.name, engine.agent) == ("agent://Attic.lan:8890", "Attic.lan:8890", "Attic.lan:8890")
    assert engine.tls is not None
    assert engine.tls.zip_file == str(path)
    assert engine.takes_agent_name
    assert engine.may_idle
    assert (found.problems, found.agent_problems) == ((), ())


def test_a_single_address_needs_no_list(tmp_path: Path) -> None:
    assert [it.agent for it in config(tmp_path, "10.0.0.2:8890").providers] == ["10.0.0.2:8890"]


def test_an_entry_can_have_a_name_and_files_of_its_own(tmp_path: Path) -> None:
    for name in ("ca", "cert", "key"):
        (tmp_path / name).write_bytes(getattr(_MADE, name))
    entry = "[{addr: '10.0.0.2:8890', name: attic, ca_file: ca, cert_file: cert, key_file: key, idle: false}]"
    found = config(tmp_path, entry)
    (engine,) = found.providers
    assert (engine.name, engine.takes_agent_name, engine.may_idle) == ("attic", False, False)
    assert engine.tls is not None
    assert engine.tls.cert_file == str(tmp_path / "cert")
    assert found.agent_problems == ()


def test_an_archive_can_be_anywhere(tmp_path: Path) -> None:
    path = _MADE.write_zip(tmp_path / "attic.zip")
    (engine,) = config(tmp_path, "[{addr: '10.0.0.2:8890', certificates: attic.zip}]").providers
    assert engine.tls is not None
    assert engine.tls.zip_file == str(path)


def test_certificates_that_cannot_be_used_harm_only_their_agent(tmp_path: Path) -> None:
    _MADE.write_zip(tmp_path / "certs" / "10.0.0.3:8890.zip", key=None)
    found = config(tmp_path, "\n  - 10.0.0.2:8890\n  - 10.0.0.3:8890", "  docker: {local: 'unix:///s'}")
    assert [engine.name for engine in found.providers] == ["local", "10.0.0.2:8890", "10.0.0.3:8890"]
    assert [(p.severity, p.line, p.message.partition("/certs/")[2]) for p in found.agent_problems] == [
        ("error", 3, "10.0.0.2:8890.zip does not exist"),
        ("error", 4, "10.0.0.3:8890.zip has no key.pem"),
    ]
    assert all("'pilotage agent create'" in problem.hint for problem in found.agent_problems)


def test_an_agent_among_the_engines_is_not_found(tmp_path: Path) -> None:
    found = config(tmp_path, "", "  docker: {local: 'unix:///s', lost: 'agent://10.0.0.2:8890'}")
    assert [engine.name for engine in found.providers] == ["local", "lost"]
    (problem,) = found.agent_problems
    assert (problem.path, problem.line) == ("providers.docker.lost", 3)
    assert (problem.message, problem.hint) == (
        'agent "agent://10.0.0.2:8890" not found',
        "list it under providers.agents",
    )


@pytest.mark.parametrize(
    ("agents", "path", "message"),
    [
        ("{a: 1}", "providers.agents", "a list of agents is needed here, not a mapping"),
        ("[5]", "providers.agents[0]", "an agent cannot be a number"),
        ("[10.0.0.2]", "providers.agents[0]", "'10.0.0.2' is not the address of an agent"),
        ("['']", "providers.agents[0]", "'' is not the address of an agent"),
        ("['a/b:1']", "providers.agents[0]", "'a/b:1' is not the address of an agent"),
        ("['10.0.0.2:99999']", "providers.agents[0]", "'10.0.0.2:99999' is not the address of an agent"),
        ("['a:1', 'a:1']", "providers.agents[1]", "the agent a:1 is listed twice"),
        ("[{name: a}]", "providers.agents[0].addr", "addr is missing"),
        ("[{addr: 'a:1', nme: b}]", "providers.agents[0].nme", "unknown key 'nme'"),
        (f"[{{addr: 'a:1', name: {'x' * 101}}}]", "providers.agents[0].name", "name has more than 100 characters"),
        ("[{addr: 'a:1', name: '!'}]", "providers.agents[0].name", "'!' is not a valid name"),
        ("[{addr: 'a:1', ca_file: x}]", "providers.agents[0].cert_file", "cert_file is missing"),
        (
            "[{addr: 'a:1', ca_file: x, certificates: y}]",
            "providers.agents[0].ca_file",
            "ca_file and certificates cannot be combined",
        ),
        ('[{addr: "a:1", certificates: "a\\0b"}]', "providers.agents[0]", "contains a null character"),
        ("[{addr: 'a:1', name: x}, {addr: 'b:1', name: x}]", "providers.agents", "two engines are called 'x'"),
    ],
)
def test_a_mistake_has_its_place_and_a_remedy(tmp_path: Path, agents: str, path: str, message: Any) -> None:
    (problem,) = refused(tmp_path, agents)
    assert (problem.path, problem.severity) == (path, "error")
    assert message in problem.message
    assert problem.hint
    assert not problem.hint[:1].isupper()
    assert problem.line == 2


@pytest.mark.parametrize(
    ("text", "hint"), [("10.0.0.2", "write HOST:PORT, such as 10.0.0.2:8890"), ("a/b:1", "write HOST:PORT")]
)
def test_the_remedy_for_an_address_without_a_port_shows_one(tmp_path: Path, text: str, hint: str) -> None:
    (problem,) = refused(tmp_path, f"['{text}']")
    assert problem.hint == hint


def test_all_wrong_agents_are_reported(tmp_path: Path) -> None:
    found = refused(tmp_path, "['10.0.0.2', 'a:1', 'a:1', '']")
    assert [problem.path for problem in found] == [f"providers.agents[{number}]" for number in (0, 2, 3)]
