from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from pilotage.core.errors import EngineUnreachable
from pilotage.output.view import View
from pilotage.table.store import build_table
from tests.support.example_engine import engine_snapshot, one

if TYPE_CHECKING:
    from collections.abc import Mapping


def view(labels: Mapping[str, str]) -> View:
    snapshots = (engine_snapshot([one("web", labels)]),)
    return View(snapshots, build_table(snapshots))


def test_a_view_with_warnings_alone_is_sound() -> None:
    found = view({"prxy.web.port": "1"})
    assert [problem.severity for problem in found.table.problems] == ["warning"]
    assert found.is_sound


def test_a_view_with_an_error_is_not_sound() -> None:
    assert not view({"proxy.web.prot": "1"}).is_sound


def test_a_view_without_one_of_its_engines_is_not_sound() -> None:
    assert not replace(view({}), errors=(EngineUnreachable("nas", "no answer"),)).is_sound


def test_the_demonstration_is_sound_whatever_its_problems() -> None:
    assert replace(view({"proxy.web.prot": "1"}), is_demo=True).is_sound
