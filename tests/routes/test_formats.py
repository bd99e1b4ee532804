from __future__ import annotations

from typing import Any

import pytest

from pilotage.routes.fields import UNSET
from pilotage.routes.formats import Folder, Icon, Index, NoEffect, Retention, StatusRange
from tests.support.field_values import read, read_yaml, reported


@pytest.mark.parametrize(
    "text",
    ["https://x/y.png", "http://x", "/a.svg", "@target/a.png", "@selfhst/immich.svg", "@walkxcode/a-dark.webp", ""],
)
def test_icons_are_read(text: str) -> None:
    found, context = read(Icon(), text)
    assert (found, reported(context)) == (text, [])


@pytest.mark.parametrize("text", ["immich", "@selfhst/immich", "@selfhst/immich.gif", "@other/x.svg", "ftp://x"])
def test_text_that_is_not_an_icon_is_reported(text: str) -> None:
    found, context = read(Icon(), text)
    assert found is UNSET
    assert [message for _, message, _ in reported(context)] == [f"{text!r} is not an icon"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("7 days", {"days": 7}),
        ("1 day", {"days": 1}),
        ("2 weeks", {"days": 14}),
        ("1 month", {"days": 30}),
        ("last 100", {"last": 100}),
        ("50 MB", {"keep_size": 50 * 1024**2}),
        ("1kb", {"keep_size": 1024}),
        (" 3 GB ", {"keep_size": 3 * 1024**3}),
        ("", UNSET),
        (None, UNSET),
    ],
)
def test_retentions_are_read(text: str | None, found: Any) -> None:
    assert read(Retention(), text)[0] == found


@pytest.mark.parametrize("text", ["7", "7 years", "-1 days", "first 5", "5 Mb", 7])
def test_text_that_is_not_a_retention_is_reported(text: Any) -> None:
    found, context = read(Retention(), text)
    assert found is UNSET
    assert len(context.problems) == 1


@pytest.mark.parametrize(
    ("text", "good"),
    [("404", True), (404, True), ("400-499", True), ("499-400", False), ("600", False), ("4xx", False), (None, False)],
)
def test_statuses_are_one_or_a_range(text: Any, good: bool) -> None:
    found, context = read(StatusRange(), text)
    assert found == (str(text) if good else UNSET)
    assert bool(context.problems) is not good


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("/srv/./www/../x//", "/srv/x"),
        ("//srv", "/srv"),
        ("/..", "/"),
        ("www/../x", "www/../x"),
        ("", ""),
        (None, UNSET),
    ],
)
def test_absolute_folders_are_cleaned(text: str | None, found: Any) -> None:
    assert read(Folder(), text)[0] == found


@pytest.mark.parametrize(("text", "found"), [("a.html", "/a.html"), ("/a.html", "/a.html"), ("", UNSET), (None, UNSET)])
def test_an_index_starts_with_a_slash(text: str | None, found: Any) -> None:
    assert read(Index(), text)[0] == found


def test_a_field_without_effect_is_kept_and_warned_of() -> None:
    found, context = read(NoEffect(), "x")
    assert found == "x"
    assert [(problem.severity, problem.message, problem.hint) for problem in context.problems] == [
        (
            "warning",
            "this field has no effect, because the alias in the label's key is the route's name",
            "remove it; proxy.aliases lists the names of a container",
        )
    ]
    for text in ("", None):
        assert not read(NoEffect(), text)[1].problems


@pytest.mark.parametrize(
    ("text", "found", "faults"),
    [
        ("days: 7", {"days": 7}, []),
        ("{Last: 5, keep_size: '1024'}", {"last": 5, "keep_size": 1024}, []),
        ("days: 0", UNSET, []),
        ("{}", UNSET, []),
        ("{dayz: 1, last: 2}", UNSET, [("field.dayz", "unknown field", "did you mean 'days'?")]),
        ("zzz: 1", UNSET, [("field.zzz", "unknown field", "write days, last or keep_size")]),
    ],
)
def test_a_retention_may_be_a_mapping(text: str, found: Any, faults: list[tuple[str, str, str]]) -> None:
    read_value, context = read_yaml(Retention(), text)
    assert (read_value, reported(context), context.path) == (found, faults, "field")


def test_a_bad_value_says_what_to_write() -> None:
    hints = [reported(read(kind, "?")[1])[0][2] for kind in (Icon(), Retention(), StatusRange())]
    assert hints == [
        "write a URL, /path, @target/path, @selfhst/name.svg or @walkxcode/name.png (svg, png, webp)",
        "write one such as '7 days', '2 weeks', 'last 100' or '50 MB'",
        "write one such as 404 or 400-499",
    ]


def test_a_retention_has_at_most_256_characters() -> None:
    assert read(Retention(), "7 days".ljust(256))[0] == {"days": 7}
    assert read(Retention(), "7 days".ljust(257))[0] is UNSET
