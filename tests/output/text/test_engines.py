from __future__ import annotations

from typing import TYPE_CHECKING

from pilotage import DockerProviderConfig
from pilotage.discovery.detect import Found, Probe
from pilotage.output.text.engines import print_engines
from tests.support.terminal import printed

if TYPE_CHECKING:
    from syrupy.assertion import SnapshotAssertion

    from pilotage.output.console import Out


ANSWERS = Probe(
    Found(DockerProviderConfig("unix:///run/x.sock", name="local"), ("DOCKER_HOST", "socket"), chosen=True),
    kind="Docker",
    version="28.5.1",
    api="1.44-1.51",
    latency=0.0042,
)


SILENT = Probe(
    Found(DockerProviderConfig("ssh://me@nas", name="nas"), ("context nas",)),
    error="cannot log in (Permission denied (publickey)); try 'ssh me@nas'",
)


def test_engines(out: Out, snapshot: SnapshotAssertion) -> None:
    print_engines(out, [ANSWERS, SILENT])
    assert printed(out) == snapshot
