"""What docs/background/security.md promises is tested: every test that it names exists, and every promise names one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).parents[2]
TEXT: Final = (ROOT / "docs" / "background" / "security.md").read_text()
NAMED: Final = re.compile(r"`((?:tests/[\w/]+/)?test_\w+(?:\.py)?(?:::\w+)?)`")
"""A test function, a file in tests/security without its ending, or a path with or without a function."""

_PROMISING: Final = ("Files, listeners and rules", "Names", "Where routes may lead")
_GAPS: Final = "Three gaps remain:"
_NOT_DONE: Final = "maximum connection duration"
"""The row of a setting that pilotage does not use on purpose."""


def sections() -> Iterator[tuple[str, str]]:
    """Yield the titles of the sections, and their text without their subsections."""
    parts = re.split(r"^##+ (.+)$", TEXT, flags=re.MULTILINE)
    yield from zip(parts[1::2], parts[2::2], strict=True)


def functions(file: Path) -> set[str]:
    return set(re.findall(r"^(?:async )?def (test_\w+)\(", file.read_text(), re.MULTILINE))


def exists(named: str, files: set[Path]) -> bool:
    """Return whether a test exists: a function must be in one of some files unless its file is named."""
    path, _, function = named.partition("::")
    if "/" in path:
        file = ROOT / path if path.endswith(".py") else ROOT / f"{path}.py"
        return file.is_file() and (not function or function in functions(file))
    return (ROOT / "tests" / "security" / f"{path}.py").is_file() or any(path in functions(file) for file in files)


def files_of(section: str) -> set[Path]:
    """Return the test files that a section names, or that have the tests for it."""
    found = {it.partition("::")[0] for it in NAMED.findall(section) if "/" in it}
    return {ROOT / (it if it.endswith(".py") else f"{it}.py") for it in found}


def test_every_test_that_is_named_exists() -> None:
    missing, count = [], 0
    for title, section in sections():
        files = {file for file in files_of(section) if file.is_file()}
        for named in NAMED.findall(section):
            count += 1
            if not exists(named, files):
                missing.append(f"{title}: {named}")
    assert missing == []
    assert count > 100


@pytest.mark.parametrize(
    "named", ["test_no_such_thing", "tests/xds/test_none.py", "tests/xds/test_nacks.py::test_none"]
)
def test_a_test_that_does_not_exist_is_noticed(named: str) -> None:
    assert not exists(named, {ROOT / "tests" / "xds" / "test_nacks.py"})


def promises() -> Iterator[str]:
    """Yield the items of the lists in the sections about labels, and the rows of all tables with a column of tests."""
    for title, section in sections():
        listed = section.partition(_GAPS)[0]
        if title in _PROMISING:
            yield from (item.group() for item in re.finditer(r"^- .*(?:\n  .*)*", listed, re.MULTILINE))
        for table in re.findall(r"(?:^\|.*\n)+", section, re.MULTILINE):
            head, _, *rows = table.splitlines()
            if "| test |" in head:
                yield from (row for row in rows if not row.startswith(f"| {_NOT_DONE} |"))


def test_every_promise_names_its_test() -> None:
    found = list(promises())
    assert len(found) > 70
    assert [promise for promise in found if not NAMED.search(promise)] == []
