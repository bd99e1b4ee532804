from __future__ import annotations

from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotage.request_service.html_editor import LARGEST_GROWTH, edit_html
from pilotage.xds.html_changes import HtmlChange, parse_selector
from tests.support.steps import steps_of

if TYPE_CHECKING:
    from collections.abc import Callable


def change(target: str, html: str = "[X]", *, replace: bool = False) -> HtmlChange:
    selector = parse_selector(target)
    assert selector is not None
    return HtmlChange(selector, html, replace)


@pytest.mark.parametrize(
    ("page", "target", "expected"),
    [
        ("<html><head></head><body>a</body></html>", "head", "<html><head>[X]</head><body>a</body></html>"),
        ("<BODY>a<script>'</body>'</script></BODY >", "body", "<BODY>a<script>'</body>'</script>[X]</BODY >"),
        ("<body>a", "body", "<body>a[X]"),
        ("<div>1</div><div>2</div>", "div", "<div>1[X]</div><div>2</div>"),
        ("<div><div>1</div>2</div>", "div", "<div><div>1</div>2[X]</div>"),
        ("<p id=a>1</p>\n<p ID='b' class=\"x y\">\n2</p>", "#b.y", "<p id=a>1</p>\n<p ID='b' class=\"x y\">\n2[X]</p>"),
        ("<p data-test='val'>1</p>", "[data-test='val']", "<p data-test='val'>1[X]</p>"),
        ("<ul><li>1<li>2</ul>", "ul", "<ul><li>1<li>2[X]</ul>"),
        ("<main><br><img src=x>1</main>", "main", "<main><br><img src=x>1[X]</main>"),
        ("<!-- <main> --><main>1</main>", "main", "<!-- <main> --><main>1[X]</main>"),
        ("<script>'<main>'</script><main>1</main>", "main", "<script>'<main>'</script><main>1[X]</main>"),
        ("<p>&amp; <b>ä</b></p>", "p", "<p>&amp; <b>ä</b>[X]</p>"),
        ("<p>1</p>", "main", "<p>1</p>"),
        ("", "body", ""),
    ],
)
def test_html_is_added_at_the_end_of_the_first_element(page: str, target: str, expected: str) -> None:
    assert edit_html(page, [change(target)]) == expected


@pytest.mark.parametrize(
    ("page", "target", "expected"),
    [
        ("<p>1</p><main><p>2</p></main><main>3</main>", "main", "<p>1</p>[X][X]"),
        ("<div>1<div>2</div></div>-", "div", "[X]-"),
        ("a<img class=x>b<img>", ".x", "a[X]b<img>"),
        ("<b>1", "b", "[X]"),
        ("<body>1</body>", "body", "[X]"),
    ],
)
def test_replacing_concerns_all_elements(page: str, target: str, expected: str) -> None:
    assert edit_html(page, [change(target, replace=True)]) == expected


def test_changes_follow_one_another() -> None:
    changes = [change("main", "<b>1</b>"), change("b", "<i>2</i>", replace=True)]
    assert edit_html("<main></main>", changes) == "<main><i>2</i></main>"


_pieces = st.sampled_from(
    ["<p>", "</p>", "<div id=a>", "</div>", "<br/>", "<", ">", "&", "x", "\n", "<!--", "-->", '"', "</"]
)


@given(st.lists(_pieces, max_size=20).map("".join), st.sampled_from(["p", "#a", "br", "body"]), st.booleans())
def test_any_text_gives_a_page(page: str, target: str, replace: Any) -> None:
    changed = edit_html(page, [change(target, "", replace=replace)])
    assert replace or changed == page
    assert len(changed) <= len(page)


@pytest.mark.parametrize(
    "page",
    [
        lambda size: "<a " * size,
        lambda size: "<a>" * size + "</b>" * size,
        lambda size: "<!--" * size,
        lambda size: "</a" * size,
        lambda size: "<script>" + "</" * size,
        lambda size: "<p>1</p>" * size,
    ],
    ids=["unfinished tags", "ends without begins", "comments", "unfinished ends", "script", "paragraphs"],
)
def test_the_cost_of_a_page_grows_with_its_length(page: Callable[[int], str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The parser reads to the end of the page for each piece that it finds to be unfinished."""
    unfinished: list[str] = []

    def watch(name: str) -> None:
        read = getattr(HTMLParser, name)

        def watched(parser: HTMLParser, at: int, *more: int) -> int:
            end: int = read(parser, at, *more)
            unfinished.extend([name] if end < 0 else [])
            return end

        monkeypatch.setattr(HTMLParser, name, watched)

    for name in ("parse_starttag", "parse_endtag", "parse_comment", "parse_html_declaration", "parse_pi"):
        watch(name)
    short, long = page(1_000), page(2_000)
    once, twice = steps_of(lambda: edit_html(short, [change("#x")])), steps_of(lambda: edit_html(long, [change("#x")]))
    assert twice < 2.5 * once
    assert len(unfinished) <= 2 * 2  # a declaration can also be a comment


@pytest.mark.parametrize(
    ("page", "expected"),
    [("<main>1</main><main", "<main>1[X]</main><main"), ("<p>1 < 2 &", "<p>1 < 2 &"), ("<main><b", "<main><b[X]")],
)
def test_what_a_page_does_not_finish_is_no_element(page: str, expected: str) -> None:
    assert edit_html(page, [change("main")]) == expected


def test_a_change_that_would_make_a_page_very_large_has_no_effect() -> None:
    long, short = change("a", "x" * 60_000, replace=True), change("b", "[X]")
    page = "<a></a>" * 20 + "<b></b>"
    assert edit_html(page, [long, short]) == page.replace("</b>", "[X]</b>")
    fits = "<a></a>" * (LARGEST_GROWTH // 60_000)
    assert len(edit_html(fits, [long])) == 60_000 * (LARGEST_GROWTH // 60_000)
