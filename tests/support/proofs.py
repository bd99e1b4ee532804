"""Finds the tests that show the effect of label fields: those with the marker ``proves``.

``python -m tests.support.proofs`` writes the list of these fields for the program, which calls only them working.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["LIST", "Proof", "found_proofs", "source_of_list"]

_TESTS: Final = Path(__file__).parents[1]
LIST: Final = _TESTS.parent / "src" / "pilotage" / "lint" / "proved.py"
_STARTS_ENVOY: Final = frozenset({"gateway", "front_door", "serving", "Envoy", "Gateway", "Served", "pilotage_serve"})
"""Names that a test uses, perhaps through fixtures, if it starts a real Envoy."""


class Proof(msgspec.Struct, frozen=True):
    """A test with the marker.

    Attributes:
        test: its file and name.
        fields: the fields whose effect it shows, such as ``healthcheck.path``.
        has_envoy: whether its file starts a real Envoy, or the dashboard for fields that only the dashboard reads.

    """

    test: str
    fields: tuple[str, ...]
    has_envoy: bool


def found_proofs() -> list[Proof]:
    """Return all tests with the marker. They are read, not run."""
    return [proof for path in sorted(_TESTS.rglob("test_*.py")) for proof in _in_file(path)]


def _in_file(path: Path) -> Iterator[Proof]:
    text = path.read_text()
    if "mark.proves(" not in text:
        return
    tree = ast.parse(text)
    own = {it.name: it for it in tree.body if isinstance(it, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)}
    for it in own.values():
        fields = tuple(field for decorator in it.decorator_list for field in _fields(decorator))
        if fields:
            yield Proof(
                f"{path.relative_to(_TESTS.parent)}::{it.name}", fields, not _STARTS_ENVOY.isdisjoint(_used(it, own))
            )


def _used(it: ast.AST, own: Mapping[str, ast.AST]) -> set[str]:
    """Return the names that a test uses, also through the fixtures, functions and classes of its file."""
    found: set[str] = set()
    waiting = [it]
    while waiting:
        names = set()
        for node in ast.walk(waiting.pop()):
            names |= {node.id} if isinstance(node, ast.Name) else {node.arg} if isinstance(node, ast.arg) else set()
        waiting += [own[name] for name in names - found if name in own]
        found |= names
    return found


def _fields(decorator: ast.expr) -> Iterator[str]:
    if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.proves":
        for argument in decorator.args:
            assert isinstance(argument, ast.Constant), ast.unparse(decorator)
            yield str(argument.value)


def source_of_list() -> str:
    """Return the source of the module that lists the fields."""
    fields = sorted({field for proof in found_proofs() for field in proof.fields})
    lines = "".join(f'        "{field}",\n' for field in fields)
    return (
        '"""Lists the label fields whose effect a test shows with requests through a real Envoy. Pure.\n\n'
        "The tests have the marker ``proves``. Their list is written by ``python -m tests.support.proofs``.\n"
        '"""\n\nfrom __future__ import annotations\n\nfrom typing import Final\n\n__all__ = ["PROVED"]\n\n'
        f"PROVED: Final = frozenset(\n    {{\n{lines}    }}\n)\n"
        '"""Fields of containers, fields of routes, and options of middlewares (``middlewares.NAME.OPTION``)."""\n'
    )


if __name__ == "__main__":
    LIST.write_text(source_of_list())
