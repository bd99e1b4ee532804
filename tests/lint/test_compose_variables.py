from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotage.lint.compose_variables import env_lines, fill_in

ENV = {"A": "one", "E": "", "N": "shop"}


@pytest.mark.parametrize(
    ("written", "text", "unset"),
    [
        ("$A", "one", ""),
        ("${A}x", "onex", ""),
        ("$$A", "$A", ""),
        ("${B:-two}", "two", ""),
        ("${E:-two}", "two", ""),
        ("${E-two}", "", ""),
        ("${A:+three}", "three", ""),
        ("${B:+three}", "", ""),
        ("${B:-${A}}", "one", ""),
        ("${B:-${C:-${A}}x}y", "onexy", ""),
        ("${B:-${C}}", "", "C"),
        ("${B}", "", "B"),
        ("${B:?say so}", "", "B"),
        ("${E:?say so}", "", "E"),
        ("x$B$C", "x", "B"),
        ("${A", "${A", ""),
        ("${1}", "${1}", ""),
        ("${A B}", "${A B}", ""),
        ("100%", "100%", ""),
        ("$", "$", ""),
    ],
)
def test_variables_are_substituted_as_compose_does(written: str, text: str, unset: str) -> None:
    found = fill_in(written, ENV)
    assert (found.text, found.unset) == (text, unset)


def test_where_the_first_unset_variable_was_and_what_was_used_is_known() -> None:
    found = fill_in("proxy.${N}.port=${P}", ENV)
    assert (found.text, found.unset, found.at, found.used) == ("proxy.shop.port=", "P", 16, {"N": "shop"})


@given(st.text("${}:-A?x ", max_size=80))
def test_no_text_makes_it_fail(text: str) -> None:
    fill_in(text, ENV)
    list(env_lines(text, ENV))


def test_defaults_inside_defaults_have_a_limit() -> None:
    assert fill_in("${B:-" * 100 + "x" + "}" * 100, {}).text == ""
    assert fill_in("${B:-" * 10 + "x" + "}" * 10, {}).text == "x"


def test_variables_cannot_multiply_without_end() -> None:
    lines = ["A0=aaaaaaaaaa", *(f"A{n}={f'$A{n - 1}' * 10}" for n in range(1, 30))]
    known = {name: value for _, name, value in env_lines("\n".join(lines), {})}
    assert len(known["A3"]) == 10_000
    assert max(map(len, known.values())) <= 16_384
    found = fill_in("$A" * 3, {"A": "x" * 8_000})
    assert (len(found.text), found.unset, found.at) == (16_000, "A", 16_000)
    assert fill_in("${B:-$A$A}${B:-$A}", {"A": "x" * 8_000}).unset == "B"
    assert len(list(env_lines("".join(f"A{n}=x\n" for n in range(10_009)), {}))) == 10_000


def test_a_file_of_variables_is_read_line_by_line() -> None:
    text = """
# comment
export A=1
B = 'two $A' # why
C="three $A"
D=four # five
E=#six
F=$A-$X
not a line
G=
"""
    assert [(name, value) for _, name, value in env_lines(text, {"X": "env"})] == [
        ("A", "1"),
        ("B", "two $A"),
        ("C", "three 1"),
        ("D", "four"),
        ("E", ""),
        ("F", "1-env"),
        ("G", ""),
    ]
    assert [number for number, _, _ in env_lines(text, {})][:2] == [3, 4]
