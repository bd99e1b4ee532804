"""A real Envoy for a test: ``async with envoy(**options) as gw``; its directory is the test's own."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from tests.support.gateway import Gateway, gateway

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    Envoy = Callable[..., AbstractAsyncContextManager[Gateway]]


@pytest.fixture
def envoy(tmp_path: Path) -> Callable[..., Any]:
    return functools.partial(gateway, tmp_path)


@pytest.fixture
def authority(tmp_path: Path) -> trustme.CA:
    """A CA whose certificate is in ``ca.pem``."""
    made = trustme.CA()
    made.cert_pem.write_to_path(tmp_path / "ca.pem")
    return made
