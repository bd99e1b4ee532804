"""Only a connection that has been closed altogether counts as closed."""

from __future__ import annotations

import socket

from pilotage.gateway.hangups import Hangups
from tests.support.waiting import until


async def test_a_connection_is_closed_once_both_directions_are() -> None:
    hangups, closed = Hangups(), []
    mine, theirs = socket.socketpair()
    other, kept = socket.socketpair()
    for each, name in ((mine, "mine"), (other, "other")):
        hangups.watch(each.fileno(), lambda name=name: closed.append(name))  # type: ignore[misc]
    theirs.shutdown(socket.SHUT_WR)
    kept.close()
    await until(lambda: closed)
    assert closed == ["other"]
    theirs.close()
    await until(lambda: len(closed) == 2)
    assert closed == ["other", "mine"]
    hangups.close()
    mine.close()
    other.close()


async def test_a_forgotten_connection_is_not_reported() -> None:
    hangups, closed = Hangups(), []
    pairs = [socket.socketpair() for _ in range(2)]
    for mine, _ in pairs:
        hangups.watch(mine.fileno(), lambda mine=mine: closed.append(mine))  # type: ignore[misc]
    hangups.forget(pairs[0][0].fileno())
    hangups.forget(pairs[0][0].fileno())
    for _, theirs in pairs:
        theirs.close()
    await until(lambda: closed)
    assert closed == [pairs[1][0]]
    hangups.close()
    for mine, _ in pairs:
        mine.close()
