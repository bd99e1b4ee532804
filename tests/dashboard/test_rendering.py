from __future__ import annotations

import re
import time

import jinja2
import pytest

from pilotage.dashboard import rendering
from pilotage.dashboard.rendering import Renderer, capitalized, clock
from tests.support.dashboard import HOSTILE


def rendered(template: str, **context: object) -> str:
    renderer = Renderer()
    return renderer._environment.from_string(template).render(context)


def test_text_is_never_markup_and_never_a_template() -> None:
    found = rendered("<p title='{{ it }}'>{{ it }}</p>", it=HOSTILE)
    assert "<script" not in found
    assert "<img" not in found
    assert "{{ 7 * 7 }}" in found


def test_characters_that_deceive_are_made_visible() -> None:
    assert rendered("{{ it }}", it="a\u202eb\x00\n") == "a\\u202eb\\x00\\x0a"


def test_an_unknown_name_is_an_error() -> None:
    with pytest.raises(jinja2.UndefinedError):
        rendered("{{ unknown }}")


def test_no_template_has_inline_code_or_leads_elsewhere() -> None:
    for path in (rendering._FOLDER / "templates").glob("*.html"):
        text = path.read_text()
        assert not re.search(r"<script(?! src=\"\{\{ asset)|<style|\sstyle=|\son[a-z]+=|https?://|\| *safe", text), path


def test_the_script_stays_small() -> None:
    assert len((rendering._FOLDER / "static" / "dashboard.js").read_text().splitlines()) <= 150


def test_addresses_of_static_files_change_with_their_content() -> None:
    renderer = Renderer()
    found = rendered("{{ asset('dashboard.css') }}")
    assert found == f"/assets/dashboard.css?v={renderer.assets['dashboard.css'].version}"


def test_times_of_other_days_have_a_date() -> None:
    now = time.mktime((2026, 3, 4, 12, 0, 0, 0, 0, -1))
    assert clock(now) == "2026-03-04 12:00"
    assert re.fullmatch(r"\d\d:\d\d:\d\d", clock(time.time()))


def test_sentences_begin_with_a_capital_letter() -> None:
    assert [capitalized(text) for text in ("awake: used by DB", "")] == ["Awake: used by DB", ""]
