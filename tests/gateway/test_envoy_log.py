from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from pilotage.gateway.envoy_log import EnvoyLog

if TYPE_CHECKING:
    import pytest


def test_irrelevant_envoy_messages_are_debug_messages(caplog: pytest.LogCaptureFixture) -> None:
    log = EnvoyLog()
    caplog.set_level(logging.DEBUG, "pilotage.envoy")
    for line in (
        "warning\tmisc\tfield 'x' is marked as work-in-progress. Beware",
        "warning\tconfig\tdelta config for x rejected: no",
        "",
        "info\t\t ",
        "warning\tmain\tsomething else",
    ):
        log.add(line)
    assert [record.levelname for record in caplog.records] == ["DEBUG", "DEBUG", "WARNING"]


def test_the_rest_of_a_rejection_is_not_logged_because_it_may_quote_secrets(caplog: pytest.LogCaptureFixture) -> None:
    log = EnvoyLog()
    caplog.set_level(logging.DEBUG, "pilotage.envoy")
    for line in ("warning\tconfig\tdelta config rejected: a", "password: hunter2", "warning\tmain\tgo on"):
        log.add(line)
    assert "hunter2" not in caplog.text
    assert "main: go on" in caplog.text


def test_while_envoy_is_being_stopped_only_errors_matter(caplog: pytest.LogCaptureFixture) -> None:
    log = EnvoyLog()
    log.quiet = True
    caplog.set_level(logging.DEBUG, "pilotage.envoy")
    log.add("warning\tmain\tless")
    log.add("error\tmain\tmore")
    assert [record.levelname for record in caplog.records] == ["DEBUG", "ERROR"]


def test_lines_of_rules_go_to_standard_error_as_they_are(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    log = EnvoyLog()
    caplog.set_level(logging.DEBUG, "pilotage.envoy")
    line = '{"time":"2026-01-01T00:00:00Z","level":"warn","route":"app","message":"a \\u0022b\\u0022"}'
    log.add(line)
    assert (capsys.readouterr().err, caplog.records) == (f"{line}\n", [])
    log.add(line.replace("a ", "\x1b[2J"))
    assert (capsys.readouterr().err, len(caplog.records)) == ("", 1)
