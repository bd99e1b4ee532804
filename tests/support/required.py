"""What a test requires of the machine: where it is missing, the test is skipped, and in CI it fails."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final, NoReturn, TypeVar

import pytest

from tests.support.environment import in_ci
from tests.support.install import EngineUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["missing", "of_own_engine", "required", "skip_reasons"]

T = TypeVar("T")

skip_reasons: Final[set[str]] = set()
"""The reasons for which tests were skipped."""


def missing(why: EngineUnavailable) -> NoReturn:
    """Skip the running test, or fail it in CI."""
    if in_ci():
        raise pytest.fail.Exception(str(why), pytrace=False) from None
    skip_reasons.add(str(why))
    raise pytest.skip.Exception(str(why)) from None


def of_own_engine(value: T | None, what: str) -> T:
    """Return something that only an engine started by the tests has, e.g. ``"a TLS port"``.

    If the user has named the engine, the test is skipped, and in CI it fails.
    """
    if value is None:
        missing(EngineUnavailable(f"the engine named for the tests is not ours, so it has no {what}"))
    return value


@contextlib.contextmanager
def required() -> Iterator[None]:
    """Turn :class:`EngineUnavailable` inside the block into a skip, or a failure in CI."""
    try:
        yield
    except EngineUnavailable as why:
        missing(why)
