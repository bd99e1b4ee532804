from __future__ import annotations

import subprocess
import sys

import pytest

from pilotage.config.engine_args import providers_from_args
from pilotage.core.errors import ConfigError
from pilotage.engine.config import DockerProviderConfig


def test_engines_are_named_on_the_command_line() -> None:
    assert providers_from_args(["a=tcp://n1:1", "b!=unix:///x=y.sock", "c=$DOCKER_HOST"], {}) == (
        DockerProviderConfig("tcp://n1:1", name="a"),
        DockerProviderConfig("unix:///x=y.sock", name="b!"),
        DockerProviderConfig("unix:///var/run/docker.sock", name="c"),
    )
    assert providers_from_args(["c=${DOCKER_HOST}"], {"DOCKER_HOST": "tcp://d:1"})[0].url == "tcp://d:1"
    assert providers_from_args([], {}) == ()


def test_all_errors_of_the_command_line_are_reported_together() -> None:
    with pytest.raises(ConfigError) as caught:
        providers_from_args(["tcp://n1:1", "=x", "!=x", "a=tcp://n1:1", "a=tcp://n2:1", "b=n1:1", "c="], {})
    assert [str(problem) for problem in caught.value.problems] == [
        "--engine 'tcp://n1:1' has no name; write NAME=URL, such as local=tcp://n1:1",
        "--engine '=x' has no name; write NAME=URL, such as local=x",
        "--engine '!=x' has no name; write NAME=URL, such as local=!=x",
        "two --engine options use the name 'a'; give each engine its own name",
        "--engine b: the engine's address 'n1:1' has no scheme; write tcp://n1:1",
        "--engine c: the engine's address is empty; write unix:///var/run/docker.sock, or remove the engine",
    ]


def test_engines_of_the_command_line_need_no_pydantic() -> None:
    use = "import sys, pilotage.config.engines as it; it.parse_engine_args(['unix:///a'], {})"
    code = f"{use}; print('pydantic' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "False\n"
