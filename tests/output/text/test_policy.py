from __future__ import annotations

import io

import pytest

from pilotage.output.console import Out
from pilotage.output.policy import JudgedClaim, JudgedService
from pilotage.output.text.policy import print_services
from tests.support.terminal import Terminal, printed

WEB = JudgedService(
    "web",
    "team-a",
    "nginx",
    "edge",
    "rule 1 'a' (pilotage.yml:3)",
    (
        JudgedClaim("host", "a-shop", allowed=True),
        JudgedClaim("host", "b-shop", allowed=False, reason="this container may not claim it", hint="ask"),
    ),
)
JOB = JudgedService("job\x1b", "", "x", "", "the default (deny), because no rule matches", (), "excluded")


def test_in_a_pipe_each_claim_is_one_line() -> None:
    out = Out(io.StringIO())
    print_services(out, [WEB, JOB])
    assert printed(out).splitlines() == [
        "Service web (project team-a, on edge)",
        "  decided by rule 1 'a' (pilotage.yml:3)",
        "  ✓ host a-shop",
        "  ✗ host b-shop: this container may not claim it; ask",
        "",
        "Service job\\x1b",
        "  decided by the default (deny), because no rule matches",
        "  excluded",
        "",
        "2 services: 1 claim allowed, 1 refused",
    ]


@pytest.mark.parametrize("width", [50, 160])
def test_on_a_terminal_lines_fit(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    long = JudgedService("web", "p", "i", "e", "rule 1", (JudgedClaim("host", "x", allowed=False, reason="why " * 40),))
    out = Out(Terminal())
    print_services(out, [long])
    lines = printed(out).splitlines()  # none is too long
    assert len(lines) == (8 if width == 50 else 6)
