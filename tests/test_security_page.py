"""What the pages about security promise is tested: every test that they name exists, and every promise names one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).parents[1]
PAGE: Final = (ROOT / "docs" / "background" / "security.md").read_text()
DETAILS: Final = (ROOT / "docs" / "reference" / "security.md").read_text()
NAMED: Final = re.compile(r"`((?:tests/[\w/]+/)?test_\w+(?:\.py)?(?:::\w+)?|tests/test_\w+\.py(?:::\w+)?)`")
"""A test function, a file in tests/security without its ending, or a path with or without a function."""

_MOST_LINES: Final = 140


def functions(file: Path) -> set[str]:
    return set(re.findall(r"^(?:async )?def (test_\w+)\(", file.read_text(), re.MULTILINE))


def exists(named: str, others: frozenset[str] = frozenset()) -> bool:
    """Return whether a test exists: one without a path in tests/security, or among those that its section names."""
    path, _, function = named.partition("::")
    if "/" in path:
        file = ROOT / (path if path.endswith(".py") else f"{path}.py")
        return file.is_file() and (not function or function in functions(file))
    folder = ROOT / "tests" / "security"
    files = [*folder.glob("*.py"), *(file for it in others if (file := ROOT / it).is_file())]
    return (folder / f"{path}.py").is_file() or any(path in functions(file) for file in files)


def sections(text: str) -> Iterator[tuple[str, str]]:
    """Yield the titles of the sections, and their text without their subsections."""
    parts = re.split(r"^##+ (.+)$", text, flags=re.MULTILINE)
    yield from zip(parts[1::2], parts[2::2], strict=True)


@pytest.mark.parametrize("text", [PAGE, DETAILS], ids=["page", "details"])
def test_every_test_that_is_named_exists(text: str) -> None:
    missing, count = [], 0
    for title, section in sections(text):
        others = frozenset(it.partition("::")[0] for it in NAMED.findall(section) if "/" in it)
        for named in NAMED.findall(section):
            count += 1
            if not exists(named, others):
                missing.append(f"{title}: {named}")
    assert missing == []
    assert count > 50


@pytest.mark.parametrize(
    "named", ["test_no_such_thing", "tests/xds/test_none.py", "tests/xds/test_nacks.py::test_none"]
)
def test_a_test_that_does_not_exist_is_noticed(named: str) -> None:
    assert not exists(named, frozenset({"tests/xds/test_nacks.py"}))


def promises(text: str) -> Iterator[str]:
    """Yield every row of a table and every sentence in the sections of the page, except those that lead to a table."""
    for _, section in sections(text):
        rows = [line for line in section.splitlines() if line.startswith("|")]
        heads = {number - 1 for number, row in enumerate(rows) if row.startswith("| ---")}
        yield from (row for number, row in enumerate(rows) if not heads & {number, number - 1})
        prose = re.sub(r"^\|.*$", "", section, flags=re.MULTILINE)
        for paragraph in re.split(r"\n\s*\n|^- ", prose.strip(), flags=re.MULTILINE):
            yield from (it for it in _sentences(paragraph) if not paragraph.rstrip().endswith(":"))


def _sentences(paragraph: str) -> list[str]:
    return [it for it in re.split(r"(?<=[.;]) +", " ".join(paragraph.split())) if it]


def test_every_promise_of_the_page_names_its_test() -> None:
    found = list(promises(PAGE))
    assert len(found) > 60
    assert [promise for promise in found if not NAMED.search(promise)] == []


@pytest.mark.parametrize(
    "added",
    [
        "A promise.",
        "One is tested (`test_names`). Another is not.",
        "| what | test |\n| --- | --- |\n| a promise | |",
        "- A promise\n  of two lines.",
    ],
)
def test_a_promise_without_a_test_is_noticed(added: str) -> None:
    assert [it for it in promises(f"{PAGE}\n## More\n\n{added}\n") if not NAMED.search(it)]


def test_the_statements_are_on_one_page() -> None:
    assert len(PAGE.splitlines()) <= _MOST_LINES


def test_every_attack_is_on_the_page() -> None:
    """A file of the attack suite that no statement names tests something that nobody promises."""
    named = set(NAMED.findall(PAGE))
    unnamed = [
        file.name
        for file in (ROOT / "tests" / "security").glob("test_*.py")
        if not named & {*functions(file), file.stem}
    ]
    assert unnamed == []
