"""How a particular engine behaves: its versions, its headers, its words for errors, the order of its events.

All of it was observed on Docker 20.10, 26.1 and 28.5 and on Podman 4.3 and 5.4, and is compared with recordings of
these in the tests. What lies beyond (API 1.52 and later) follows the Engine API's version history.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Final, Literal

import msgspec

__all__ = ["Answer", "Dialect", "api_number", "dialect_of"]

Flavour = Literal["docker", "podman"]

#: The Docker Engine that brought an API version, for the /version answer.
_ENGINES: Final = {
    (1, 24): "1.12.6",
    (1, 40): "19.03.15",
    (1, 41): "20.10.24",
    (1, 42): "23.0.6",
    (1, 43): "24.0.9",
    (1, 44): "25.0.5",
    (1, 45): "26.1.5",
    (1, 46): "27.1.1",
    (1, 47): "27.5.1",
    (1, 48): "28.0.4",
    (1, 49): "28.1.1",
    (1, 50): "28.2.2",
    (1, 51): "28.5.2",
    (1, 52): "29.0.0",
}


class Answer(msgspec.Struct, frozen=True):
    """A whole HTTP answer: status, headers beside ``Content-Length``, body."""

    status: int
    headers: dict[str, str]
    body: bytes = b""


@dataclasses.dataclass(frozen=True, slots=True)
class Dialect:
    """One engine's ways.

    Attributes:
        flavour: ``docker`` or ``podman``.
        version: of the engine, e.g. ``"20.10.24"``.
        api: the newest API version it speaks, as numbers.
        min_api: the oldest.

    """

    flavour: Flavour
    version: str
    api: tuple[int, int]
    min_api: tuple[int, int]

    @property
    def podman(self) -> bool:
        """Whether this is Podman."""
        return self.flavour == "podman"

    @property
    def major(self) -> int:
        """The engine's major version."""
        return int(self.version.split(".")[0])

    @property
    def modern(self) -> bool:
        """Whether this is a Docker Engine of version 25 or later, or a Podman of version 5 or later."""
        return self.major >= (5 if self.podman else 25)

    @property
    def bridge(self) -> str:
        """The name of the network that containers are attached to when nobody says."""
        return "podman" if self.podman else "bridge"

    def headers(self, kind: str = "application/json") -> dict[str, str]:
        """Return the headers of an ordinary answer."""
        if self.podman:
            return {
                "Api-Version": _text(self.api),
                "Content-Type": kind,
                "Libpod-Api-Version": self.version,
                "Server": f"Libpod/{self.version} (linux)",
            }
        return {
            "Api-Version": _text(self.api),
            "Content-Type": kind,
            "Docker-Experimental": "false",
            "Ostype": "linux",
            "Server": f"Docker/{self.version} (linux)",
        }

    def json(self, value: Any, status: int = 200) -> Answer:
        """Return an answer that holds a value as JSON."""
        return Answer(status, self.headers(), msgspec.json.encode(value) + b"\n")

    def error(self, status: int, message: str, cause: str = "") -> Answer:
        """Return an error in the engine's shape; ``cause`` is Podman's alone, and the end of its message by default."""
        if self.podman:
            return self.json(
                {"cause": cause or message.rpartition(": ")[2], "message": message, "response": status}, status
            )
        return self.json({"message": message}, status)

    def no_such_container(self, wanted: str) -> Answer:
        """Return the answer about a container that is not there."""
        if self.podman:
            return self.error(404, f'no container with name or ID "{wanted}" found: no such container')
        return self.error(404, f"No such container: {wanted}")

    def no_such_page(self) -> Answer:
        """Return the answer about a path that is not the API's, which both kinds of engine give without their name."""
        if self.podman:
            return Answer(404, {"Content-Type": "text/plain; charset=utf-8"}, b"Not Found\n")
        return Answer(404, {"Content-Type": "application/json"}, b'{"message":"page not found"}\n')

    def refuse_version(self, asked: tuple[int, int]) -> Answer | None:
        """Return the refusal of an API version out of range, or ``None`` where it is served. Podman serves any."""
        if self.podman or self.min_api <= asked <= self.api:
            return None
        limit, side = (self.api, "new. Maximum") if asked > self.api else (self.min_api, "old. Minimum")
        words = f"client version {_text(asked)} is too {side} supported API version is {_text(limit)}"
        if asked > self.api:
            return self.error(400, words)
        words += ", please upgrade your client to a newer version"
        if 25 <= self.major < 28:
            return self.error(400, words)
        return Answer(400, self.headers("text/plain; charset=utf-8"), words.encode() + b"\n")

    def ping(self) -> Answer:
        """Return the answer to ``/_ping``."""
        more = {"Cache-Control": "no-cache, no-store, must-revalidate", "Pragma": "no-cache"}
        return Answer(200, self.headers("text/plain; charset=utf-8") | more, b"OK")

    def describe(self) -> dict[str, Any]:
        """Return the answer to ``/version``."""
        api, oldest = _text(self.api), _text(self.min_api)
        details = {
            "Arch": "amd64",
            "BuildTime": "2026-01-01T00:00:00Z",
            "Experimental": "false",
            "GitCommit": "",
            "GoVersion": "go1.24.4",
            "KernelVersion": "6.1.0-test",
            "Os": "linux",
        }
        if self.podman:
            name, spoken = "Podman Engine", {"APIVersion": self.version, "MinAPIVersion": "4.0.0"}
        else:
            name, spoken = "Engine", {"ApiVersion": api, "MinAPIVersion": oldest}
        shared = {key: details[key] for key in details if key != "Experimental"}
        component = {"Name": name, "Version": self.version, "Details": details | spoken}
        return {
            "Platform": {"Name": "linux/amd64/debian-12" if self.podman else ""},
            "Components": [component],
            "Version": self.version,
            "ApiVersion": api,
            "MinAPIVersion": oldest,
            **shared,
        }


def dialect_of(flavour: Flavour, api: str = "", min_api: str = "", version: str = "") -> Dialect:
    """Make the dialect of an engine; what is not said follows from what is.

    Args:
        flavour: ``docker`` or ``podman``.
        api: the newest API version, e.g. ``"1.41"``.
        min_api: the oldest; Docker's own choice at that version by default.
        version: the engine's version; for Podman ``"4.3.1"`` by default.

    Raises:
        ValueError: a version is not written as numbers with dots.

    """
    if flavour == "podman":
        return Dialect(flavour, version or "4.3.1", api_number(api or "1.41"), api_number(min_api or "1.24"))
    number = api_number(api or "1.41")
    oldest = (1, 44) if number >= (1, 52) else (1, 24) if number >= (1, 44) else (1, 12)
    known = max((known for known in _ENGINES if known <= number), default=(1, 24))
    return Dialect(flavour, version or _ENGINES[known], number, api_number(min_api) if min_api else oldest)


def api_number(text: str) -> tuple[int, int]:
    """Turn ``"1.41"`` into ``(1, 41)``."""
    major, _, minor = text.partition(".")
    return int(major), int(minor)


def _text(number: tuple[int, int]) -> str:
    return f"{number[0]}.{number[1]}"
