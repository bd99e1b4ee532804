from __future__ import annotations

import pytest

from pilotage.xds.acme_challenges import challenge_filter, http_challenges, is_challenge


@pytest.mark.parametrize(
    ("token", "answer", "accepted"),
    [
        ("a-B_9", "a-B_9.x-Y_1", True),
        ("", ".x", False),
        ("a", "a", False),
        ('a"] = 1', "a.b", False),
        ("a", 'a."', False),
        ("a" * 513, "a.b", False),
        ("a\n", "a.b", False),
    ],
)
def test_only_base64url_is_a_challenge(token: str, answer: str, accepted: bool) -> None:
    assert is_challenge(token, answer) is accepted


def test_the_filter_accepts_both_of_its_configurations() -> None:
    allowed = set(challenge_filter().config_discovery.type_urls)
    for challenges in ({}, {"a": "a.b"}):
        message = http_challenges(challenges)
        assert sum(url.encode() in message.body for url in allowed) == 1
    assert http_challenges({}).version == http_challenges({}).version != http_challenges({"a": "a.b"}).version
