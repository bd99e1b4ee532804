from __future__ import annotations

from typing import TYPE_CHECKING

from pilotage import DockerProviderConfig
from pilotage.discovery.detect import Candidate, Probe
from pilotage.output.engines import engine_json, print_engines
from tests.support.terminal import printed

if TYPE_CHECKING:
    from syrupy.assertion import SnapshotAssertion

    from pilotage.output.console import Out


ANSWERS = Probe(
    Candidate(DockerProviderConfig("unix:///run/x.sock", name="local"), ("DOCKER_HOST", "socket"), chosen=True),
    kind="Docker",
    version="28.5.1",
    api="1.44-1.51",
    latency=0.0042,
)


SILENT = Probe(
    Candidate(DockerProviderConfig("ssh://me@nas", name="nas"), ("context nas",)),
    error="cannot log in (Permission denied (publickey)); try 'ssh me@nas'",
)


def test_engines(out: Out, snapshot: SnapshotAssertion) -> None:
    print_engines(out, [ANSWERS, SILENT])
    assert printed(out) == snapshot


def test_json_says_whether_the_engine_answers() -> None:
    assert engine_json(ANSWERS)["answers"]
    assert engine_json(ANSWERS)["latency_s"] == 0.0042
    assert not engine_json(SILENT)["answers"]
