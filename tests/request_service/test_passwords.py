from __future__ import annotations

import asyncio
import base64
from unittest import mock

import bcrypt
import pytest

from pilotage.request_service import passwords
from pilotage.request_service.passwords import Passwords, TooManyWait, read_basic_auth

HASH = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()


def basic(text: str) -> str:
    return f"Basic {base64.b64encode(text.encode()).decode()}"


def test_user_and_password_are_read_from_the_header() -> None:
    assert read_basic_auth(basic("me:a:b")) == ("me", b"a:b")
    assert read_basic_auth(basic("é:").replace("Basic", "bASIC")) == ("é", b"")
    assert [read_basic_auth(it) for it in ("", "Basic", "Basic ?", basic("me"), "Bearer bWU6YQ==")] == [None] * 5


async def test_results_are_remembered() -> None:
    checker = Passwords()
    try:
        with mock.patch.object(passwords, "_compare", wraps=passwords._compare) as compare:
            for _ in range(3):
                assert await checker.matches("route/app", b"secret", HASH)
                assert not await checker.matches("route/app", b"other", HASH)
        assert compare.call_count == 2
    finally:
        checker.close()


async def test_a_password_that_bcrypt_does_not_accept_matches_nothing() -> None:
    checker = Passwords()
    try:
        assert not await checker.matches("route/app", b"x" * 80, HASH)
        assert not await checker.matches("route/app", b"secret", "$2b$04$invalid")
    finally:
        checker.close()


async def test_one_route_cannot_take_all_places() -> None:
    checker = Passwords(most=4)
    try:
        async with asyncio.TaskGroup() as group:
            waiting = [group.create_task(checker.matches("route/a", bytes([it]), HASH)) for it in range(2)]
            await asyncio.sleep(0)
            with pytest.raises(TooManyWait):
                await checker.matches("route/a", b"c", HASH)
            assert await checker.matches("route/b", b"secret", HASH)
        assert [it.result() for it in waiting] == [False, False]
        assert await checker.matches("route/a", b"secret", HASH)
    finally:
        checker.close()
