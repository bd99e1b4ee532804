from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from pilotage.xds.upgrades import UPGRADES, anything_but, ignored_upgrades, upgrade_configs


@given(st.lists(st.text("ab-.", max_size=4), max_size=5), st.text("ab-.", max_size=6))
def test_a_text_matches_unless_it_is_one_of_the_words(words: list[str], text: str) -> None:
    assert bool(re.fullmatch(anything_but(words), text)) is (text not in words)


def test_every_protocol_is_either_passed_on_or_ignored() -> None:
    (ignored,) = ignored_upgrades()
    passed = {config.upgrade_type for config in upgrade_configs()}
    assert passed == set(UPGRADES)
    for token in (*UPGRADES, "WebSocket", "websockets", "h2c", "foo/2", ""):
        known = token.lower() in {it.lower() for it in passed}
        assert bool(re.fullmatch(ignored.safe_regex.regex, token)) is not known
