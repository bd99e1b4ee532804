from __future__ import annotations

import pytest

from pilotage.core.errors import (
    ConfigError,
    EngineError,
    EngineIncompatible,
    EngineRefused,
    EngineUnreachable,
    PilotageError,
)
from pilotage.core.problems import Problem


@pytest.mark.parametrize("kind", [EngineError, EngineUnreachable, EngineIncompatible])
def test_an_engines_error_reads_as_a_sentence_with_its_remedy(kind: type[EngineError]) -> None:
    error = kind("node1", "nothing listens on port 2375", "start the engine")
    assert str(error) == "node1: nothing listens on port 2375; start the engine"
    assert (error.engine, error.what, error.remedy) == ("node1", "nothing listens on port 2375", "start the engine")


def test_an_error_without_a_remedy_ends_after_what_failed() -> None:
    assert str(EngineUnreachable("node1", "it hangs")) == "node1: it hangs"


def test_a_refusal_keeps_the_status() -> None:
    error = EngineRefused("node1", "no such container", status=404)
    assert (error.status, str(error)) == (404, "node1: no such container")


def test_a_configuration_error_lists_every_problem_on_its_own_line() -> None:
    error = ConfigError([Problem(message="one", file="a.yml", line=1, column=2), Problem(message="two", hint="do it")])
    assert str(error) == "a.yml:1:2: one\ntwo; do it"
    assert [problem.message for problem in error.problems] == ["one", "two"]


def test_what_an_engine_sent_is_escaped_and_cut() -> None:
    error = EngineRefused("node1", "a\x1b[31m" + "b" * 5000, "c\u202e" + "d" * 5000, status=500)
    assert error.what.startswith("a\\x1b[31mbbb")
    assert error.remedy.startswith("c\\u202eddd")
    assert (len(error.what), len(error.remedy)) == (500, 500)


def test_all_errors_share_a_base_class() -> None:
    for kind in (ConfigError, EngineError, EngineIncompatible, EngineRefused, EngineUnreachable):
        assert issubclass(kind, PilotageError)
