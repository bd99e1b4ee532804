from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotage.core.hostnames import ascii_host


@pytest.mark.parametrize(
    ("written", "requested"),
    [
        ("shop", "shop"),
        ("Shop.Example.COM", "shop.example.com"),
        ("bücher.example.com", "xn--bcher-kva.example.com"),
        ("BÜCHER.example.com", "xn--bcher-kva.example.com"),
        ("*.bücher.example.com", "*.xn--bcher-kva.example.com"),
        ("faß.de", "xn--fa-hia.de"),  # as in browsers; the older IDNA 2003 would lead to another owner's fass.de
        ("例え。テスト", "xn--r8jz45g.xn--zckzah"),
        ("i❤.ws", "xn--i-7iq.ws"),
        ("shop.example.com.", "shop.example.com"),
        ("bücher.", "xn--bcher-kva"),
        (".", "."),
        ("shop..", "shop.."),
        ("", ""),
        ("ü" * 300, "ü" * 300),
        ("a\u2488b", "a\u2488b"),  # not allowed in a name
        ("https://x", "https://x"),
        ("https://Bücher.example.com/x", "https://bücher.example.com/x"),
        ("ä|ö", "ä|ö"),
    ],
)
def test_names_are_spelled_as_clients_request_them(written: str, requested: str) -> None:
    assert ascii_host(written) == requested


@given(st.text(max_size=60))
def test_spelling_a_name_twice_changes_nothing_and_never_fails(text: str) -> None:
    once = ascii_host(text)
    assert ascii_host(once) == once or not once.isascii() or once.endswith(".")
