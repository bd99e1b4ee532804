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
