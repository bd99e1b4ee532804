from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.pebble import Pebble

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def pebble(tmp_path: Path) -> Iterator[Pebble]:
    """An ACME server that rejects one good nonce in twenty."""
    with Pebble(tmp_path / "pebble").running() as running:
        yield running
