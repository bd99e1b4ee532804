from __future__ import annotations

import sys
from types import ModuleType

import pytest

from pilotage.core.lazy import lazy_exports


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A package that exports one name of a standard module."""
    made = ModuleType("lazy_example")
    made.__path__ = []
    module = ModuleType("lazy_example.inner")
    vars(module)["Thing"] = object()
    monkeypatch.setitem(sys.modules, "lazy_example", made)
    monkeypatch.setitem(sys.modules, "lazy_example.inner", module)
    made.__getattr__, made.__dir__ = lazy_exports("lazy_example", {"Thing": "inner"})  # type: ignore[method-assign]
    return made


def test_a_name_is_imported_on_first_use_and_kept(package: ModuleType) -> None:
    assert "Thing" not in vars(package)
    thing = package.Thing
    assert thing is sys.modules["lazy_example.inner"].Thing
    assert vars(package)["Thing"] is thing


def test_an_unknown_name_is_an_attribute_error(package: ModuleType) -> None:
    with pytest.raises(AttributeError, match="module 'lazy_example' has no attribute 'Other'"):
        _ = package.Other


def test_dir_lists_exports_that_are_not_imported_yet(package: ModuleType) -> None:
    assert "Thing" in dir(package)
