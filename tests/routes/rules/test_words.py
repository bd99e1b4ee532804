from __future__ import annotations

import pytest

from pilotage.routes.rules import RuleError
from pilotage.routes.rules.words import find, line_of, split, strip_comments, words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("path /a", ["path", "/a"]),
        ('error 403 "no entry"', ["error", "403", "no entry"]),
        (r"a b\ c \"d\" 'e \'f\''", ["a", "b c", '"d"', "e 'f'"]),
        ('path glob("/a b/*")', ["path", 'glob("/a b/*")']),
        (r"path regex(^/\d+ x$)", ["path", r"regex(^/\d+ x$)"]),
        ('set body ""', ["set", "body", ""]),
        ("a `b\"c'`", ["a", "b\"c'"]),
        (r"a x\ny\tz", ["a", "x\ny\tz"]),
        ("a $$ $${X} $req_path", ["a", "$$", "$${X}", "$req_path"]),
        ("  ", []),
    ],
)
def test_words_are_separated_by_spaces_outside_quotes_and_parentheses(text: str, expected: list[str]) -> None:
    assert words(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a 'b", "a quote ' is not closed"),
        ("a (b", "a '(' is not closed"),
        ("a b)", "a ')' is unmatched"),
        ("a ${HOME}", "rules do not read environment variables"),
        ('a "x${HOME}"', "rules do not read environment variables"),
        ("a $$${HOME}", "rules do not read environment variables"),
    ],
)
def test_mistakes_in_words_are_reported(text: str, message: str) -> None:
    with pytest.raises(RuleError) as caught:
        words(text)
    assert caught.value.message == message


def test_comments_become_spaces_and_lines_stay() -> None:
    text = "a # one {\nb // two\n/* three\n{ */ c 'd # e' http://x#y"
    assert strip_comments(text) == "a        \nb       \n        \n     c 'd # e' http://x#y"
    with pytest.raises(RuleError) as caught:
        strip_comments("a\n/* b")
    assert (caught.value.message, caught.value.line) == ("a comment is not closed", 2)


def test_characters_are_found_outside_quotes_parentheses_and_variables() -> None:
    assert find("a '{' ({) ${x} \\{ {", 0, "{") == 18
    assert find("a", 0, "{") == -1
    assert find("(\n{", 0, "{") == 2  # a parenthesis ends with its line
    assert find("abc{", 0, "{", 3) == -1


def test_texts_are_split_at_separators() -> None:
    assert split("a '|' | b", "|") == [("a '|' ", 0), (" b", 7)]
    assert line_of("a\nb\nc", 4) == 3
