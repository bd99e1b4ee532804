"""The style and the script of the loading page: legible, complete, and calm for people who want no motion."""

from __future__ import annotations

import json
import re

import pytest

from pilotage.sleep.loading_assets import SCRIPT, STYLE
from pilotage.sleep.loading_page import EVENT_NAMES

LIGHT, DARK = (
    dict(re.findall(r"(--[\w-]+): (#\w+)", block)) for block in re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)
)


def luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(digit * 2 for digit in colour[1:])
    parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio as WCAG 2 defines it."""
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_the_contrast_of_black_and_white_is_21() -> None:
    assert contrast("#000", "#ffffff") == pytest.approx(21)


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize(
    ("text", "ground"),
    [
        ("text", "ground"),
        ("quiet", "ground"),
        ("bad", "ground"),
        ("text", "bad-ground"),
        ("on-accent", "accent"),
        ("quiet", "tile"),
    ],
)
def test_text_is_legible(colours: dict[str, str], text: str, ground: str) -> None:
    assert contrast(colours[f"--{text}"], colours[f"--{ground}"]) >= 4.5  # WCAG 2, level AA


def test_both_schemes_define_the_same_colours() -> None:
    assert LIGHT.keys() == DARK.keys()
    assert set(re.findall(r"var\((--[\w-]+)\)", STYLE)) <= LIGHT.keys()


def test_nothing_moves_for_people_who_want_no_motion() -> None:
    _, _, calm = STYLE.partition("prefers-reduced-motion: reduce")
    moving = re.findall(r"([^{}\n]+) \{[^}]*(animation|transition):", STYLE[: -len(calm)])
    assert moving
    for selector, what in moving:
        assert re.search(rf"{re.escape(selector.strip())} \{{ {what}: none;", calm), selector


def test_style_and_script_load_nothing_and_cannot_end_their_elements() -> None:
    for text in (STYLE, SCRIPT):
        assert not re.search(r"//|url\(|@import|</|<!--|fetch\(|import\(", re.sub(r"\n\s*//.*", "", text))


def test_the_script_puts_texts_in_place_only_as_text() -> None:
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval|Function\(|\.on[a-z]+ ?=", SCRIPT)


def test_the_script_listens_to_every_event() -> None:
    names = re.search(r"const names = (\[[^]]*\])", SCRIPT)
    assert names is not None
    assert tuple(json.loads(names[1])) == EVENT_NAMES
