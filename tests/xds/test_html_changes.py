from __future__ import annotations

from typing import Any

import pytest

from pilotage.xds.html_changes import THEMES, HtmlChange, Selector, modify_html, parse_selector, themed
from pilotage.xds.middlewares import route_policy


@pytest.mark.parametrize(
    ("text", "selector"),
    [
        ("body", Selector("body")),
        ("DIV.a.b", Selector("div", ("a", "b"))),
        ("#main", Selector(attributes=(("id", "main"),))),
        ("[data-Test='val']", Selector(attributes=(("data-test", "val"),))),
        ('a[href="/x"][hidden]', Selector("a", (), (("href", "/x"), ("hidden", None)))),
    ],
)
def test_simple_selectors_are_parsed(text: str, selector: Selector) -> None:
    assert parse_selector(text) == selector


@pytest.mark.parametrize("text", ["", "a b", "a > b", "a, b", "p:first-child", "*", "#", "[a='b]", "[a", "a..b", "#1x"])
def test_other_selectors_are_not_supported(text: str) -> None:
    assert parse_selector(text) is None


def read(maker: Any, **options: Any) -> tuple[HtmlChange | None, list[tuple[str, str, str]]]:
    problems: list[tuple[str, str, str]] = []
    return maker(options, lambda *problem: problems.append(problem)), problems


def test_what_to_insert_follows_the_options() -> None:
    assert read(modify_html, target="main", html="<b>", replace="true") == (
        HtmlChange(Selector("main"), "<b>", True),
        [],
    )
    assert read(modify_html, target="main", html="<b>") == (HtmlChange(Selector("main"), "<b>"), [])
    change, _ = read(themed, fonturl='https://x/?a&b"', fontfamily="My 'Font'", theme="dark")
    assert change is not None
    assert change.target == Selector("body")
    assert change.html.startswith('<link rel="stylesheet" href="https://x/?a&amp;b&quot;"><style>body,')
    assert "font-family:'My Font'" in change.html
    assert change.html.endswith(f"<style>{THEMES['dark']}</style>")
    assert read(themed, css="/x.css")[0] == HtmlChange(Selector("body"), '<link rel="stylesheet" href="/x.css">')
    assert read(themed, css="a{b:c}")[0] == HtmlChange(Selector("body"), "<style>a{b:c}</style>")


@pytest.mark.parametrize(
    ("maker", "options", "option"),
    [
        (modify_html, {"html": "x"}, "target"),
        (modify_html, {"target": "a b", "html": "x"}, "target"),
        (modify_html, {"target": "br", "html": "x"}, "target"),
        (modify_html, {"target": "p", "html": "x", "replace": "maybe"}, "replace"),
        (modify_html, {"target": "p", "html": "x" * 70_000}, "html"),
        (themed, {}, ""),
        (themed, {"theme": "dark", "css": "x"}, "css"),
        (themed, {"theme": "drak"}, "theme"),
        (themed, {"fonturl": "x"}, "font_url"),
        (themed, {"fontfamily": "x"}, "font_family"),
        (themed, {"css": "file:///etc/passwd"}, "css"),
        (themed, {"css": "x" * 70_000}, "css"),
    ],
    ids=str,
)
def test_an_option_that_cannot_be_used_is_reported(maker: Any, options: dict[str, Any], option: str) -> None:
    change, ((message, hint, place),) = read(maker, **options)
    assert change is None
    assert (bool(message), bool(hint), place) == (True, True, option)


def test_a_route_has_the_changes_of_its_middlewares_and_is_served_despite_errors() -> None:
    policy = route_policy({"themed": {"theme": "dark"}, "modify_html": {"target": "p", "html": "x"}})
    assert [change.target.tag for change in policy.changes] == ["p", "body"]
    policy = route_policy({"themed": {"theme": "drak"}})
    (problem,) = policy.problems
    assert (policy.changes, policy.servable, problem.severity) == ((), True, "warning")
    assert (problem.path, problem.hint) == ("middlewares.themed.theme", "did you mean 'dark'?")
