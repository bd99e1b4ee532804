from __future__ import annotations

import pytest

from pilotage.routes.rules import Pattern, matches, parse_glob


def globbed(glob: str, text: str) -> bool:
    return matches(Pattern("glob", glob, parse_glob(glob)), text)


@pytest.mark.parametrize(
    ("glob", "yes", "no"),
    [
        ("/api/*", "/api/a/b", "/apis"),
        ("/a/**/b", "/a/x/y/b", "/a/b"),
        ("/file?.txt", "/file1.txt", "/file12.txt"),
        ("[abc]", "b", "d"),
        ("[!abc]", "d", "b"),
        ("v[0-9]", "v5", "va"),
        ("{a,b*,}x", "bcx", "cx"),
        ("{a,b*,}x", "x", "ab"),
        (r"\*\?", "*?", "ab"),
        ("*.{[Pp][Dd]f,doc}", "x.Pdf", "x.pdF"),
    ],
)
def test_globs_match_whole_texts(glob: str, yes: str, no: str) -> None:
    assert globbed(glob, yes)
    assert not globbed(glob, no)


@pytest.mark.parametrize("glob", ["[a", "{a", "a{b{c}", "[z-a]", "\\", "{" * 21 + "}" * 21])
def test_invalid_globs_are_refused(glob: str) -> None:
    with pytest.raises(ValueError, match=r"glob|pattern|range"):
        parse_glob(glob)
