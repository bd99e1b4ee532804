from __future__ import annotations

import pytest

from pilotage.cli.doctor.finding import Finding, finding_json, print_findings, summary
from pilotage.output.console import Out
from tests.support.terminal import Terminal, printed

FOUND = [
    Finding("engine local", "ok", "Docker 28.0, API 1.48, 3 running, responds in 12 ms"),
    Finding("clock", "warning", "nothing synchronizes this machine's clock", "sudo timedatectl set-ntp true"),
    Finding("port 443 (gateway.https)", "problem", "0.0.0.0:443 is in use by nginx (process 812)", "stop it: kill 812"),
]


@pytest.mark.parametrize("columns", [50, 160])
@pytest.mark.parametrize("colors", [True, False])
def test_findings_fit_the_terminal_and_need_no_colors(
    columns: int, colors: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if not colors:
        monkeypatch.setenv("NO_COLOR", "1")
    terminal = Terminal()
    out = Out(terminal)
    print_findings(out, FOUND)
    assert ("\x1b[32m" in terminal.getvalue()) == colors
    lines = printed(out).splitlines()
    assert [line[:11] for line in lines if line[:1] not in {" ", "1"}] == ["✓ ok       ", "! warning  ", "✗ problem  "]
    assert "           → stop it: kill 812" in lines
    assert lines[-1] == "1 problem, 1 warning"
    assert (len(lines) == 6) == (columns == 160)


def test_without_problems_the_summary_says_so() -> None:
    assert summary(FOUND[:1]) == "no problems"


def test_passwords_in_addresses_are_not_shown() -> None:
    found = Finding("engine nas", "problem", "cannot reach https://me:swordfish@nas:2376")
    assert "swordfish" not in finding_json(found)["text"]
