from __future__ import annotations

from typing import TYPE_CHECKING

from pilotage.output.label_reference import matching
from pilotage.output.text.labels import print_labels
from tests.support.terminal import printed

if TYPE_CHECKING:
    from syrupy.assertion import SnapshotAssertion

    from pilotage.output.console import Out


def test_a_label_that_does_not_work_says_why(out: Out) -> None:
    print_labels(out, matching("rule_file", {"proxy.<alias>.rule_file": "no: nobody reads it"})[0])
    assert "no: nobody reads it" in printed(out)


def test_labels(out: Out, snapshot: SnapshotAssertion) -> None:
    print_labels(out, [*matching("aliases")[0], *matching("healthcheck")[0], *matching("ports")[0]])
    assert printed(out) == snapshot
