"""What a test requires of the machine: where it is missing, the test is skipped, and in CI it fails."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final, NoReturn

import pytest

from tests.support.environment import in_ci
from tests.support.install import EngineGone, EngineUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["missing", "required", "skip_reasons"]

skip_reasons: Final[set[str]] = set()
"""The reasons for which tests were skipped."""


def missing(why: EngineUnavailable) -> NoReturn:
    """Skip the running test, or fail it in CI; an engine that nobody offers any more is skipped there too."""
    if in_ci() and not isinstance(why, EngineGone):
        raise pytest.fail.Exception(str(why), pytrace=False) from None
    skip_reasons.add(str(why))
    raise pytest.skip.Exception(str(why)) from None


@contextlib.contextmanager
def required() -> Iterator[None]:
    """Turn :class:`EngineUnavailable` inside the block into a skip, or a failure in CI."""
    try:
        yield
    except EngineUnavailable as why:
        missing(why)
