from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pilotage.request_service.cookies import forget_cookie, read_cookies, set_cookie


def test_cookies_are_read_by_name() -> None:
    assert read_cookies('a=1; b="2"; a=3; c; d=x=y, z') == {"a": "1", "b": "2", "d": "x=y, z"}


@given(st.text())
def test_any_header_can_be_read(header: str) -> None:
    found = read_cookies(header)
    assert len(found) <= 300
    assert all(";" not in value for value in found.values())


def test_a_cookie_is_for_one_host_and_no_script() -> None:
    assert set_cookie("a", "b", secure=False, seconds=5) == (
        "set-cookie",
        "a=b; Path=/; Max-Age=5; HttpOnly; SameSite=Lax",
    )
    assert set_cookie("a", "b", secure=True, seconds=5)[1].endswith("; Secure")
    assert "Max-Age=0" in forget_cookie("a", secure=True, path="/x")[1]
