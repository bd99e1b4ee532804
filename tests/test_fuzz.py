"""Random labels, Compose files and configurations have an outcome: bounded, printable, the same each time."""

from __future__ import annotations

import pytest

from tests.support.fuzzer import Fuzzer

pytestmark = pytest.mark.slow

SEED = 2026


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("kind", "count"), [("labels", 1500), ("compose", 2000), ("configuration", 2500)])
def test_every_case_of_the_fuzzer_has_a_bounded_and_repeatable_outcome(kind: str, count: int) -> None:
    assert Fuzzer(SEED).try_kind(kind, lambda number: number < count) == count
