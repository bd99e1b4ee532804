from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pilotage.output.explain import explain
from pilotage.output.text.explanation import print_explanation
from tests.support.terminal import printed

if TYPE_CHECKING:
    from syrupy.assertion import SnapshotAssertion

    from pilotage.output.console import Out
    from pilotage.output.view import View


@pytest.mark.parametrize("name", ["shop", "shop-copy", "db", "closed", "lost", "wiki", "two-nets", "api", "other"])
def test_explanations(out: Out, harbour: View, name: str, snapshot: SnapshotAssertion) -> None:
    print_explanation(out, explain(name, harbour.rosters, harbour.table))
    assert printed(out) == snapshot
