from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import sys
from types import ModuleType

import pytest

import pilotage
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


def public_names() -> list[tuple[str, str]]:
    """Return every name that pilotage and its packages export, with where."""
    packages = [f"pilotage.{module.name}" for module in pkgutil.iter_modules(pilotage.__path__) if module.ispkg]
    return [(package, name) for package in ["pilotage", *packages] for name in importlib.import_module(package).__all__]


@pytest.mark.parametrize(("package", "name"), public_names())
def test_every_exported_name_can_be_imported(package: str, name: str) -> None:
    assert getattr(importlib.import_module(package), name) is not None


@pytest.mark.parametrize(("package", "name"), public_names())
def test_no_lazily_exported_name_is_also_a_module(package: str, name: str) -> None:
    home = importlib.import_module(package)
    if "lazy_exports" in vars(home):
        assert importlib.util.find_spec(f"{package}.{name}") is None, "what it is would depend on the order of imports"
