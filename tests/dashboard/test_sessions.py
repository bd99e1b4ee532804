from __future__ import annotations

from pilotage.dashboard.sessions import LIFETIME, Sessions


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_session_begins_with_the_token_and_ends_in_time() -> None:
    clock = Clock()
    sessions = Sessions("secret", clock)
    assert sessions.begin("wrong") is None
    session = sessions.begin(" secret\n")
    assert session is not None
    assert sessions.holds(session)
    assert not sessions.holds("")
    clock.now += LIFETIME
    assert not sessions.holds(session)


def test_nobody_signs_in_without_a_token() -> None:
    sessions = Sessions("", Clock())
    assert not sessions.possible
    assert sessions.begin("") is None


def test_a_session_can_be_ended() -> None:
    sessions = Sessions("secret", Clock())
    session = sessions.begin("secret")
    assert session is not None
    sessions.end(session)
    assert not sessions.holds(session)


def test_tokens_cannot_be_guessed_quickly() -> None:
    clock = Clock()
    sessions = Sessions("secret", clock)
    for _ in range(10):
        assert not sessions.is_blocked
        sessions.begin("guess")
    assert sessions.is_blocked
    clock.now += 60
    assert not sessions.is_blocked


def test_sessions_are_limited() -> None:
    sessions = Sessions("secret", Clock())
    begun = [sessions.begin("secret") or "" for _ in range(101)]
    assert [sessions.holds(session) for session in (begun[0], begun[1], begun[100])] == [False, True, True]
