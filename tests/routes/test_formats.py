from __future__ import annotations

from typing import Any

import pytest

from pilotage.routes.fields import UNSET
from pilotage.routes.formats import Icon, Retention, StatusRange
from tests.support.field_values import read, reported


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
