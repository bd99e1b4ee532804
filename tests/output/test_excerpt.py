"""The line of a file with a problem, as it is shown below the problem."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from pilotage.core.problems import Problem
from pilotage.output.excerpt import Excerpt, excerpt_of, fit_excerpt


def marked(line: str, column: int, message: str = "") -> tuple[str, str]:
    """Return the text of an excerpt, and the marked part of it."""
    found = excerpt_of(line, Problem(message=message, file="f", line=1, column=column))
    assert found is not None
    return found.text, found.text[found.start : found.start + found.length]


@pytest.mark.parametrize(
    ("line", "column", "text", "part"),
    [
        ("      proxy.web.prot: 80", 7, "proxy.web.prot: 80", "proxy.web.prot"),
        ("\tport: 80", 3, "port: 80", "port"),  # the parser counts the tab as two columns
        ("  - 'port'", 5, "- '…'", "'…'"),
        ("  port: 'a", 9, "port: '…", "'"),
        ("scheme: true", 0, "scheme: true", "scheme: true"),
        ("port: 80", 9, "port: 80", ""),
        ("port: 80", 999, "port: 80", ""),
        ("labels: { first: one two three, prot: 80 }", 33, "labels: { first: …, prot: 80 }", "prot"),
    ],
)
def test_the_place_of_the_problem_is_marked(line: str, column: int, text: str, part: str) -> None:
    assert marked(line, column) == (text, part)


def test_an_empty_line_has_no_excerpt() -> None:
    assert excerpt_of("  \t", Problem(message="m", column=3)) is None


def test_only_words_of_the_message_names_and_small_numbers_are_shown() -> None:
    line = "note: '\x1b[31m hunter2 htps 123456 80 https://me:pw@host', password: 1234"
    text, _ = marked(line, 1, "'htps' is not a scheme")
    assert text == "note: '\\x1b[… htps … 80 …:…:…', password: …"


@given(st.text(max_size=3_000), st.integers(0, 3_000), st.integers(12, 60))
def test_an_excerpt_of_any_line_fits_and_shows_the_place(line: str, column: int, width: int) -> None:
    found = excerpt_of(line, Problem(message="m", file="f", line=1, column=column))
    if found is None:
        assert not line.strip()
        return
    assert found.text.isprintable()
    shown = fit_excerpt(found, width)
    assert cell_len(shown.text) <= width
    assert cell_len(shown.text[: shown.start]) < width
    assert shown.length >= 1
    assert shown.text[shown.start : shown.start + 1] == found.text[found.start : found.start + 1]


def test_a_long_line_is_cut_on_both_sides_of_the_problem() -> None:
    text = f"{'a ' * 30}prot {'b ' * 30}".strip()
    shown = fit_excerpt(Excerpt(text, 60, 4), 20)
    assert shown.text[shown.start : shown.start + shown.length] == "prot"
    assert (shown.text[0], shown.text[-1]) == ("…", "…")
    assert fit_excerpt(Excerpt(text, 60, 4), 0).text == text
