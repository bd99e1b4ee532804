"""Changes an HTML page as the middlewares ``modify_html`` and ``themed`` ask. Pure.

The page is edited in place, so all text outside the changed elements stays exactly the same.
"""

from __future__ import annotations

import re
from collections import Counter
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Final

from pilotage.xds.html_changes import VOID, Selector

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pilotage.xds.html_changes import HtmlChange

__all__ = ["LARGEST_GROWTH", "edit_html"]

LARGEST_GROWTH: Final = 1024 * 1024
"""Maximum number of characters by which one change may lengthen a page. Otherwise, replacing many elements with a long
text would fill the memory."""

_ENDS: Final = {name: re.compile(rf"</{name}\s*>", re.IGNORECASE) for name in ("head", "body", "html")}
"""The end tags of elements that a page has only once. They are found without parsing the page, which would be slow."""


def edit_html(page: str, changes: Iterable[HtmlChange]) -> str:
    """Apply all changes to a page, one after the other, and return it.

    A change has no effect if no element matches, or if the page would grow by more than :data:`LARGEST_GROWTH`.
    """
    for change in changes:
        places = _places(page, change)
        if sum(len(change.html) - (end - start) for start, end in places) > LARGEST_GROWTH:
            continue
        parts, rest = [], 0
        for start, end in places:
            parts += [page[rest:start], change.html]
            rest = end
        page = "".join((*parts, page[rest:]))
    return page


def _places(page: str, change: HtmlChange) -> list[tuple[int, int]]:
    """Return which parts of a page to replace, in order and without overlap."""
    ends = _ENDS.get(change.target.tag)
    if ends is not None and not change.replace and change.target == Selector(change.target.tag):
        found = list(ends.finditer(page))
        if found:
            at = (found[0] if change.target.tag == "head" else found[-1]).start()
            return [(at, at)]
    finder = _Finder(page, change)
    # ``close`` is not called: it would read the rest of the page again for each tag that begins there, which can take
    # half an hour. Without it, a tag that the page does not finish is ignored, as in browsers.
    finder.feed(page)
    return finder.found()


class _Finder(HTMLParser):
    def __init__(self, page: str, change: HtmlChange) -> None:
        super().__init__(convert_charrefs=False)
        self._change = change
        self._page = page
        self._lines = [0, *(found.end() for found in re.finditer("\n", page))]
        self._open: list[tuple[str, int]] = []  # tag, and index in ``_matches`` or -1
        self._count: Counter[str] = Counter()  # tag -> how many elements are open
        self._matches: list[list[int]] = []  # start of the element, start of its end tag, end of the element

    def found(self) -> list[tuple[int, int]]:
        """Return the places of the matching elements."""
        for _, match in self._open:
            self._end(match, len(self._page), len(self._page))
        if not self._change.replace:
            return [(self._matches[0][1],) * 2] if self._matches else []
        kept: list[tuple[int, int]] = []
        for start, _, end in sorted(self._matches):
            if not kept or start >= kept[-1][1]:  # elements inside a replaced one are gone
                kept.append((start, end))
        return kept

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        start = self._at()
        end = start + len(self.get_starttag_text() or "")
        match = -1
        if self._change.target.matches(tag, {name: value or "" for name, value in attrs}):
            match = len(self._matches)
            self._matches.append([start, end, end])
        if tag not in VOID:
            self._open.append((tag, match))
            self._count[tag] += 1

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID and tag not in ("svg", "path") and self._open:
            return  # HTML ignores the slash
        if self._open and self._open[-1][0] == tag:
            self._open.pop()
            self._count[tag] -= 1

    def handle_endtag(self, tag: str) -> None:
        if not self._count[tag]:
            return
        at = self._at()
        while self._open:
            name, match = self._open.pop()
            self._count[name] -= 1
            whole = at if name != tag else self._page.find(">", at) + 1 or len(self._page)
            self._end(match, at, whole)
            if name == tag:
                return

    def _end(self, match: int, at: int, whole: int) -> None:
        if match >= 0:
            self._matches[match][1:] = [at, whole]

    def _at(self) -> int:
        line, column = self.getpos()
        return self._lines[line - 1] + column
