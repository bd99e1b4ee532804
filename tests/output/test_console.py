from __future__ import annotations

import io

import pytest
from rich.text import Text

from pilotage.output.console import Out, clean, command_name, fit, print_table
from tests.support.terminal import Terminal, printed


@pytest.fixture(autouse=True)
def usual_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)


LONG = "a sentence that goes on for longer than any forty columns could hold"


def test_columns_of_the_environment_are_the_width_of_a_terminal() -> None:
    assert Out(Terminal()).width == 40


def test_a_pipe_has_no_width() -> None:
    assert Out(io.StringIO()).width == 0


def test_columns_of_nothing_do_not_swallow_the_output(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "0")
    file = io.StringIO()
    Out(file).line("text")
    assert file.getvalue() == "text\n"
    assert Out(Terminal()).width == 80


def test_a_terminal_gets_colours() -> None:
    out = Out(Terminal())
    out.line(Text("red", style="red"))
    assert "\x1b[31m" in out.file.getvalue()  # type: ignore[union-attr]


def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    out = Out(Terminal())
    out.line(Text("red", style="red"))
    assert out.file.getvalue() == "red\n"  # type: ignore[union-attr]


def test_a_pipe_gets_no_colours() -> None:
    file = io.StringIO()
    Out(file).line(Text("red", style="red"))
    assert file.getvalue() == "red\n"


def test_a_paragraph_wraps_between_words_and_hangs() -> None:
    out = Out(Terminal())
    out.paragraph(Text(LONG), indent=2, hanging=4)
    lines = out.file.getvalue().splitlines()  # type: ignore[union-attr]
    assert " ".join(line.strip() for line in lines) == LONG
    assert len(lines) == 2
    assert lines[0].startswith("  a")
    assert lines[1].startswith("      ")
    assert max(map(len, lines)) <= 40


def test_a_paragraph_that_fits_is_one_line() -> None:
    out = Out(Terminal())
    out.paragraph(Text("short"), indent=2, hanging=2)
    assert out.file.getvalue() == "  short\n"  # type: ignore[union-attr]


def test_a_paragraph_is_one_line_in_a_pipe() -> None:
    file = io.StringIO()
    Out(file).paragraph(Text(LONG), indent=2)
    assert file.getvalue() == f"  {LONG}\n"


def test_a_table_in_a_pipe_is_never_cut() -> None:
    file = io.StringIO()
    print_table(Out(file), ["A", "B"], [[(LONG, ""), (LONG, "")]], give_way=[0, 1])
    assert file.getvalue().splitlines()[1] == f"{LONG}  {LONG}"


def test_a_table_on_a_terminal_is_cut_to_its_width_and_says_so() -> None:
    out = Out(Terminal())
    print_table(out, ["A", "B"], [[("short", ""), (LONG, "")]], give_way=[1])
    lines = out.file.getvalue().splitlines()  # type: ignore[union-attr]
    assert len(lines) == 2
    assert len(lines[1]) <= 40
    assert lines[1].endswith("…")


def test_columns_of_a_table_line_up_even_with_wide_letters() -> None:
    file = io.StringIO()
    print_table(Out(file), ["NAME", "B"], [[("港", ""), ("x", "")], [("port", ""), ("y", "")]], give_way=[])
    assert file.getvalue() == "NAME  B\n港    x\nport  y\n"


def test_columns_that_fit_keep_their_width() -> None:
    assert fit([10, 20], 40, [0, 1]) == [10, 20]


def test_columns_shrink_in_their_order() -> None:
    assert fit([20, 30], 45, [1, 0]) == [20, 23]


def test_columns_stay_wide_enough_to_be_of_use() -> None:
    assert fit([20, 30], 10, [1, 0]) == [8, 8]


def test_fixed_columns_keep_their_width() -> None:
    assert fit([5, 30], 20, [1]) == [5, 13]


def test_control_characters_cannot_reach_the_terminal() -> None:
    assert clean("a\x1b[31mb\nc") == "a\\x1b[31mb\\x0ac"


def test_a_wrapper_script_sets_the_command_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PILOTAGE_COMMAND", raising=False)
    assert command_name() == "pilotage"
    monkeypatch.setenv("PILOTAGE_COMMAND", "sh scripts/run")
    assert command_name() == "sh scripts/run"


def test_a_table_on_a_very_narrow_terminal_is_printed_as_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    monkeypatch.setenv("NO_COLOR", "1")
    out = Out(Terminal())
    rows = [
        [("shop", "bold"), ("http://10.0.0.2:8080", ""), ("ready", ""), ("", "")],
        [("db", ""), ("-", ""), (LONG, ""), ("x", "")],
    ]
    print_table(out, ["ALIAS", "TARGET", "STATUS", "NOTE"], rows, give_way=[1])
    assert printed(out) == (
        """\
ALIAS   shop
  TARGET  http://10.0.0.2:8080
  STATUS  ready
ALIAS   db
  TARGET  -
  STATUS  a sentence that goes
          on for longer than
          any forty columns
          could hold
  NOTE    x
"""
    )


def test_a_block_that_continues_the_one_before_is_indented_and_long_words_begin_beside_their_heading(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    monkeypatch.setenv("NO_COLOR", "1")
    out = Out(Terminal())
    rows = [[("shop", ""), ("registry/acme/shop:4.2.17-alpine", ""), ("web", "")], [("", ""), ("", ""), ("admin", "")]]
    print_table(out, ["CONTAINER", "IMAGE", "ALIAS"], rows, give_way=[1])
    assert printed(out) == (
        """\
CONTAINER  shop
  IMAGE      registry/acme/sho
             p:4.2.17-alpine
  ALIAS      web
  ALIAS      admin
"""
    )


def test_a_small_table_stays_a_table_on_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setenv("NO_COLOR", "1")
    out = Out(Terminal())
    print_table(out, ["A", "B", "C"], [[("1", ""), ("2", ""), ("3", "")]], give_way=[1])
    assert printed(out) == "A  B  C\n1  2  3\n"


def test_an_error_is_wrapped_between_words_on_a_terminal() -> None:
    out = Out(Terminal())
    out.error(LONG)
    lines = printed(out).splitlines()
    assert lines == ["error: a sentence that goes on for", "  longer than any forty columns could", "  hold"]
