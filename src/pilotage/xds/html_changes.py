"""Reads the middlewares that change HTML pages: ``modify_html`` and ``themed``. Pure.

A change inserts HTML at the end of an element, or replaces elements. The elements are chosen by a CSS selector without
combinators: a tag, ``#id``, ``.class``, ``[attribute]`` and ``[attribute=value]``, or several of them together.
"""

from __future__ import annotations

import re
from html import escape
from typing import TYPE_CHECKING, Any, Final

import msgspec

from pilotage.core.suggest import did_you_mean
from pilotage.core.text import shorten_value

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["THEMES", "VOID", "HtmlChange", "Selector", "modify_html", "parse_selector", "themed"]

VOID: Final = frozenset("area base br col embed hr img input link meta param source track wbr".split())
"""Elements without content (HTML standard 13.1.2)."""

_LONGEST: Final = 64 * 1024
_NAME: Final = r"[A-Za-z_-][\w-]{0,99}"
_PART: Final = re.compile(
    rf"(?P<tag>{_NAME})|\#(?P<id>{_NAME})|\.(?P<class>{_NAME})"
    rf"|\[\s*(?P<key>{_NAME})\s*(?:=\s*(?P<quote>['\"]?)(?P<value>[^\]'\"]{{0,200}}?)(?P=quote)\s*)?\]",
    re.ASCII,
)


class Selector(msgspec.Struct, frozen=True):
    """Chooses elements.

    Attributes:
        tag: lower-case name of the element; ``""`` for any.
        classes: classes that the element must have.
        attributes: lower-case name -> value that the attribute must have; ``None`` if the attribute need only exist.

    """

    tag: str = ""
    classes: tuple[str, ...] = ()
    attributes: tuple[tuple[str, str | None], ...] = ()

    def matches(self, tag: str, attributes: Mapping[str, str]) -> bool:
        """Return whether an element is chosen."""
        if self.tag and tag != self.tag:
            return False
        if self.classes and not set(self.classes) <= set(attributes.get("class", "").split()):
            return False
        return all(
            name in attributes and (value is None or attributes[name] == value) for name, value in self.attributes
        )


class HtmlChange(msgspec.Struct, frozen=True):
    """A change to HTML pages.

    Attributes:
        target: the elements to change.
        html: HTML to insert at the end of the first such element, or to put in place of each such element.
        replace: whether to replace the elements.

    """

    target: Selector
    html: str
    replace: bool = False


def parse_selector(text: str) -> Selector | None:
    """Parse a selector. Return ``None`` if it is invalid or has a part that is not supported."""
    tag, classes, attributes, end = "", [], [], 0
    for found in _PART.finditer(text.strip()):
        if found.start() != end or (found["tag"] and end):
            return None
        end = found.end()
        if found["tag"]:
            tag = found["tag"].lower()
        elif found["id"]:
            attributes.append(("id", found["id"]))
        elif found["class"]:
            classes.append(found["class"])
        else:
            attributes.append((found["key"].lower(), found["value"]))
    return Selector(tag, tuple(classes), tuple(attributes)) if end and end == len(text.strip()) else None


def modify_html(options: Mapping[str, Any], report: Callable[[str, str, str], None]) -> HtmlChange | None:
    """Return the change that ``modify_html`` asks for.

    Args:
        options: the options, with folded names.
        report: receives message, hint and option of each problem.

    """
    target = parse_selector(str(options.get("target") or ""))
    if target is None:
        text = shorten_value(str(options.get("target") or ""))
        report(f"{text!r} is not a selector that pilotage supports", "write one such as head, #main or .menu", "target")
        return None
    replace = str(options.get("replace", "false")).lower()
    if replace not in ("true", "false"):
        report(f"{shorten_value(replace)!r} is not true or false", "write true or false", "replace")
        return None
    if target.tag in VOID and replace == "false":
        report(f"the element {target.tag} cannot have content", "write replace: true, or another target", "target")
        return None
    html = str(options.get("html") or "")
    return HtmlChange(target, html, replace == "true") if _is_short(html, "html", report) else None


def themed(options: Mapping[str, Any], report: Callable[[str, str, str], None]) -> HtmlChange | None:
    """Return the change that ``themed`` asks for; arguments as for :func:`modify_html`."""
    theme, css = str(options.get("theme") or ""), str(options.get("css") or "")
    url, family = str(options.get("fonturl") or ""), str(options.get("fontfamily") or "")
    if theme and css:
        report("theme and css cannot be combined", "remove one of them", "css")
        return None
    if bool(url) is not bool(family):
        report("font_url and font_family belong together", "write both", "font_url" if url else "font_family")
        return None
    if theme and theme not in THEMES:
        hint = did_you_mean(theme, THEMES) or f"write one of {', '.join(THEMES)}"
        report(f"{shorten_value(theme)!r} is not a theme", hint, "theme")
        return None
    if css.startswith("file://"):
        report("pilotage reads no files for css", "write the CSS itself, or a URL", "css")
        return None
    parts = []
    if url:
        name = re.sub(r"[^\w ,-]", "", family)
        parts += [_link(url), f"<style>body,button,input,select,textarea{{font-family:'{name}',sans-serif}}</style>"]
    if theme:
        parts.append(f"<style>{THEMES[theme]}</style>")
    elif css.startswith(("https://", "http://", "/")):
        parts.append(_link(css))
    elif css:
        parts.append(f"<style>{css}</style>")
    if not parts:
        report("themed has no effect without theme, css or a font", "write theme, css, or font_url and font_family", "")
        return None
    html = "".join(parts)
    return HtmlChange(Selector("body"), html) if _is_short(html, "css", report) else None


def _is_short(html: str, option: str, report: Callable[[str, str, str], None]) -> bool:
    if len(html) <= _LONGEST:
        return True
    report(f"{option} has more than {_LONGEST:,} characters", "put it into a file of the service itself", option)
    return False


def _link(url: str) -> str:
    return f'<link rel="stylesheet" href="{escape(url, quote=True)}">'


def _colours(background: str, raised: str, text: str, link: str, border: str) -> str:
    return (
        f":root{{color-scheme:dark}}html,body{{background:{background}!important;color:{text}!important}}"
        f"a{{color:{link}!important}}h1,h2,h3,h4,h5,h6,p,li,td,th,label,span{{color:inherit}}"
        f"header,nav,main,section,article,aside,footer,table,pre,code,dialog"
        f"{{background-color:{raised}!important;border-color:{border}!important;color:{text}!important}}"
        f"button,input,select,textarea{{background:{raised}!important;color:{text}!important;"
        f"border:1px solid {border}!important}}"
    )


THEMES: Final = {
    "dark": _colours("#121212", "#1a1a1a", "#e4e4e4", "#7ab7ff", "#3a3a3a"),
    "dark-grey": _colours("#2b2b2b", "#353535", "#dcdcdc", "#8cc4ff", "#505050"),
    "solarized-dark": _colours("#002b36", "#073642", "#93a1a1", "#268bd2", "#586e75"),
}
"""Name of a theme -> its style sheet."""
