from __future__ import annotations

from pilotage.dashboard.sessions import LIFETIME, Sessions

CLIENT = "192.0.2.1"


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_session_begins_with_the_token_and_ends_in_time() -> None:
    clock = Clock()
    sessions = Sessions("secret", clock)
    assert sessions.begin("wrong", CLIENT) is None
    session = sessions.begin(" secret\n", CLIENT)
    assert session is not None
    assert sessions.holds(session)
    assert not sessions.holds("")
    clock.now += LIFETIME
    assert not sessions.holds(session)


def test_nobody_signs_in_without_a_token() -> None:
    sessions = Sessions("", Clock())
    assert not sessions.possible
    assert sessions.begin("", CLIENT) is None


def test_a_session_can_be_ended() -> None:
    sessions = Sessions("secret", Clock())
    session = sessions.begin("secret", CLIENT)
    assert session is not None
    sessions.end(session)
    assert not sessions.holds(session)


def test_tokens_cannot_be_guessed_quickly() -> None:
    clock = Clock()
    sessions = Sessions("secret", clock)
    for _ in range(10):
        assert not sessions.is_blocked(CLIENT)
        sessions.begin("guess", CLIENT)
    assert sessions.is_blocked(CLIENT)
    clock.now += 60
    assert not sessions.is_blocked(CLIENT)


def test_guesses_keep_only_their_own_client_from_signing_in() -> None:
    sessions = Sessions("secret", Clock())
    for number in range(10):
        sessions.begin("guess", CLIENT)
        sessions.begin("guess", f"2001:db8::{number}")
    blocked = {
        client for client in (CLIENT, "192.0.2.2", "2001:db8::ff", "2001:db8:0:1::1") if sessions.is_blocked(client)
    }
    assert blocked == {CLIENT, "2001:db8::ff"}
    for number in range(1_000):  # so many are remembered
        sessions.begin("guess", f"client {number}")
    assert not sessions.is_blocked(CLIENT)


def test_sessions_are_limited() -> None:
    sessions = Sessions("secret", Clock())
    begun = [sessions.begin("secret", CLIENT) or "" for _ in range(101)]
    assert [sessions.holds(session) for session in (begun[0], begun[1], begun[100])] == [False, True, True]
