from __future__ import annotations

import asyncio
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from pilotage.xds import resolver as module
from pilotage.xds.resolver import Resolver, look_up

if TYPE_CHECKING:
    from collections.abc import Callable


class Names:
    """A name server in the test's own process.

    Attributes:
        known: name -> addresses; a missing one is an error.
        asked: the names that were looked up, in order.
        most: the largest number of lookups at a time.
        free: lookups wait for it.

    """

    def __init__(self, **known: tuple[str, ...]) -> None:
        self.known = known
        self.asked: list[str] = []
        self.most = 0
        self.free = threading.Event()
        self.free.set()
        self._running = 0
        self._lock = threading.Lock()

    def __call__(self, name: str) -> tuple[str, ...]:
        with self._lock:
            self.asked.append(name)
            self._running += 1
            self.most = max(self.most, self._running)
        self.free.wait(20)
        with self._lock:
            self._running -= 1
        if name not in self.known:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return self.known[name]


def is_empty(resolver: Resolver) -> bool:
    """Return whether a resolver holds nothing, so that containers that come and go fill no memory."""
    return resolver._levels == [{}] and not any(
        value for key, value in vars(resolver).items() if isinstance(value, dict) and key != "_news"
    )


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110  it happens in a thread
            await asyncio.sleep(0.001)


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_INTERVAL", 0.0)
    monkeypatch.setattr(module, "_RETRIES", (0.0,))
    monkeypatch.setattr(module, "_MAX_RATE", 1e9)


async def test_a_name_is_resolved_and_a_change_is_reported_once(often: None) -> None:
    names, news = Names(db=("10.0.0.1",)), list[str]()
    resolver = Resolver(news.append, lookup=names)
    resolver.update("app", ["db"])
    await until(lambda: len(names.asked) > 3)
    assert resolver.addresses == {"db": ("10.0.0.1",)}
    assert news == ["db"]
    names.known["db"] = ("10.0.0.2",)
    await until(lambda: len(news) == 2)
    assert resolver.addresses == {"db": ("10.0.0.2",)}
    resolver.close()


async def test_the_last_addresses_stay_while_the_name_server_fails(often: None) -> None:
    names, news = Names(db=("10.0.0.1",)), list[str]()
    resolver = Resolver(news.append, lookup=names)
    resolver.update("app", ["db"])
    await until(lambda: "db" in resolver.addresses)
    del names.known["db"]
    await until(lambda: "db" in resolver.errors)
    assert resolver.addresses == {"db": ("10.0.0.1",)}
    assert resolver.errors == {"db": "Name or service not known"}
    names.known["db"] = ("10.0.0.1",)
    await until(lambda: not resolver.errors)
    resolver.close()


@pytest.mark.parametrize("error", [OSError("no route"), UnicodeError("label too long"), RuntimeError("bug")])
async def test_any_failure_of_a_lookup_is_an_error_of_its_name(error: Exception) -> None:
    def fail(_: str) -> tuple[str, ...]:
        raise error

    resolver = Resolver(lambda _: None, lookup=fail)
    resolver.update("app", ["db"])
    await resolver.settled(20)
    assert str(error) in resolver.errors["db"]
    resolver.close()


async def test_a_name_that_nobody_uses_any_longer_is_not_resolved_again(often: None) -> None:
    names = Names(db=("10.0.0.1",))
    resolver = Resolver(lambda _: None, lookup=names)
    resolver.update("app", ["db"])
    resolver.update("shop", ["db"])
    await until(lambda: "db" in resolver.addresses)
    resolver.update("app", [])
    assert resolver.addresses
    resolver.update("shop", [])
    assert resolver.addresses == {}
    await resolver.settled(20)
    asked = len(names.asked)
    await asyncio.sleep(0.05)
    assert len(names.asked) == asked
    resolver.close()


async def test_a_name_that_comes_and_goes_while_it_waits_is_looked_up_once() -> None:
    names = Names(slow=("10.0.0.1",), db=("10.0.0.2",))
    names.free.clear()
    resolver = Resolver(lambda _: None, lookup=names)
    resolver.update("slow", ["slow"], "one")
    for _ in range(20):
        resolver.update("app", ["db"], "one")
        resolver.update("app", [], "one")
    resolver.update("app", ["db"], "one")
    names.free.set()
    await resolver.settled(20)
    assert names.asked == ["slow", "db"]
    resolver.close()


async def test_lookups_at_a_time_are_limited_and_one_container_has_one() -> None:
    names = Names(**{f"n{number}": ("10.0.0.1",) for number in range(40)})
    names.free.clear()
    resolver = Resolver(lambda _: None, lookup=names)
    for number in range(20):
        resolver.update(f"greedy{number}", [f"n{number}"], "one")
    await until(lambda: len(names.asked) == 1)
    for number in range(20, 40):
        resolver.update(f"other{number}", [f"n{number}"], f"owner{number}")
    await until(lambda: len(names.asked) == module._AT_ONCE)
    assert sum(int(name[1:]) < 20 for name in names.asked) == 1
    names.free.set()
    await resolver.settled(20)
    assert len(resolver.addresses) == 40
    assert names.most <= module._AT_ONCE
    resolver.close()


async def test_the_number_of_names_is_limited_and_a_free_place_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_NAMES", 2)
    names = Names(a=("10.0.0.1",), b=("10.0.0.2",), c=("10.0.0.3",))
    resolver = Resolver(lambda _: None, lookup=names)
    for name in ("a", "b", "c"):
        resolver.update(name, [name])
    await resolver.settled(20)
    assert resolver.addresses.keys() == {"a", "b"}
    assert "names are in use" in resolver.errors["c"]
    resolver.update("a", [])
    await resolver.settled(20)
    assert resolver.addresses.keys() == {"b", "c"}
    assert resolver.errors == {}
    resolver.update("c", [])
    resolver.update("b", [])
    assert is_empty(resolver)
    resolver.close()


async def test_an_owner_of_many_names_keeps_nobody_else_from_using_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_NAMES_OF_ONE", 3)
    news = list[str]()
    resolver = Resolver(news.append, lookup=lambda _: ("10.0.0.1",))
    resolver.update("greedy", [f"n{number}" for number in range(50)], "greedy")
    resolver.update("app", ["db"], "shop")
    await resolver.settled(20)
    assert len(resolver.addresses) == 4
    assert resolver.addresses["db"] == ("10.0.0.1",)
    assert len(resolver.errors) == 47
    assert set(resolver.errors.values()) == {"its container has more than 3 names"}
    await until(lambda: len(set(news)) == 51)  # each problem shows
    resolver.update("greedy", [], "greedy")
    resolver.update("app", [], "shop")
    assert is_empty(resolver)
    resolver.close()


async def test_a_newcomer_takes_a_place_of_the_owner_of_most_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_NAMES", 6)
    news = list[str]()
    resolver = Resolver(news.append, lookup=lambda _: ("10.0.0.1",))
    for owner in ("a", "b"):
        for number in range(5):
            resolver.update(f"{owner}{number}", [f"{owner}{number}"], owner)
    resolver.update("app", ["db", "cache"], "shop")
    await resolver.settled(20)
    owners = [name[0] for name in resolver.addresses if name not in ("db", "cache")]
    assert sorted(owners) == ["a", "a", "b", "b"]
    assert {"db", "cache"} <= resolver.addresses.keys()
    assert len(resolver.errors) == 6
    await until(lambda: set(resolver.errors) <= set(news))
    resolver.update("app", [], "shop")  # its places are used by both, in turns
    await resolver.settled(20)
    assert sorted(name[0] for name in resolver.addresses) == ["a", "a", "a", "b", "b", "b"]
    for owner in ("a", "b"):
        for number in range(5):
            resolver.update(f"{owner}{number}", [], owner)
    assert is_empty(resolver)
    resolver.close()


async def test_a_name_stays_in_use_as_long_as_one_of_its_owners_has_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_NAMES", 4)
    asked = list[str]()

    def look_up_once(name: str) -> tuple[str, ...]:
        asked.append(name)
        return ("10.0.0.1",)

    resolver = Resolver(lambda _: None, lookup=look_up_once)
    for name in ("x", "y", "z", "db"):
        resolver.update(name, [name], "greedy")
    resolver.update("app", ["db"], "shop")
    await resolver.settled(20)
    resolver.update("new", ["new"], "third")  # takes a place of the greedy one, but not the name of the shop
    await resolver.settled(20)
    assert resolver.addresses.keys() == {"x", "y", "db", "new"}
    for name in ("x", "y", "z", "db"):
        resolver.update(name, [], "greedy")
    assert resolver.addresses.keys() == {"db", "new"}
    resolver.update("app", ["db"], "its successor")
    assert resolver.addresses.keys() == {"db", "new"}
    assert asked.count("db") == 1
    resolver.update("app", [])
    resolver.update("new", [])
    assert is_empty(resolver)
    resolver.close()


async def test_a_surplus_name_is_resolved_when_somebody_with_room_uses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_NAMES_OF_ONE", 1)
    resolver = Resolver(lambda _: None, lookup=lambda _: ("10.0.0.1",))
    resolver.update("a", ["a"], "greedy")
    resolver.update("b", ["db"], "greedy")
    assert "db" in resolver.errors
    resolver.update("app", ["db"], "shop")
    await resolver.settled(20)
    assert (set(resolver.addresses), set(resolver.errors)) == ({"a", "db"}, set())
    resolver.update("app", [], "shop")
    assert (set(resolver.addresses), set(resolver.errors)) == ({"a"}, {"db"})
    resolver.update("a", [], "greedy")
    await resolver.settled(20)
    assert (set(resolver.addresses), set(resolver.errors)) == ({"db"}, set())
    resolver.close()


async def test_a_silent_name_server_delays_neither_waiting_nor_closing() -> None:
    names = Names()
    names.free.clear()
    resolver = Resolver(lambda _: None, lookup=names)
    resolver.update("app", ["db"])
    await resolver.settled(0.01)
    resolver.close()
    names.free.set()
    await until(lambda: resolver._running == 0)
    assert resolver.errors == {}


def test_the_system_resolves_names_to_addresses() -> None:
    assert "127.0.0.1" in look_up("localhost")
    assert look_up("0x7f000001") == ("127.0.0.1",)
    with pytest.raises((OSError, ValueError)):
        look_up("x" * 300)
