"""Describes the differences between engines: versions, headers, error messages, order of events.

The differences were observed on Docker 20.10, 26.1 and 28.5 and on Podman 4.3 and 5.4; the tests compare the dialects
with recordings of these engines. The behavior of later versions (API 1.52 and up) is taken from the Engine API's
version history.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Final, Literal

import msgspec

__all__ = ["Answer", "Dialect", "api_number", "dialect_of"]

Flavour = Literal["docker", "podman"]

#: API version -> the Docker Engine version that introduced it, for /version.
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
    """A complete HTTP response: status, headers except ``Content-Length``, body."""

    status: int
    headers: dict[str, str]
    body: bytes = b""


@dataclasses.dataclass(frozen=True, slots=True)
class Dialect:
    """The behavior of one engine version.

    Attributes:
        flavour: ``docker`` or ``podman``.
        version: engine version, e.g. ``"20.10.24"``.
        api: newest supported API version, as numbers.
        min_api: oldest supported API version.

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
        """Whether this is Docker Engine 25 or later, or Podman 5 or later."""
        return self.major >= (5 if self.podman else 25)

    @property
    def bridge(self) -> str:
        """The name of the default network."""
        return "podman" if self.podman else "bridge"

    def headers(self, kind: str = "application/json") -> dict[str, str]:
        """Return the headers of a normal response."""
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
        """Return a JSON response."""
        return Answer(status, self.headers(), msgspec.json.encode(value) + b"\n")

    def error(self, status: int, message: str, cause: str = "") -> Answer:
        """Return an error as the engine writes it. Only Podman adds ``cause``, by default the message's end."""
        if self.podman:
            return self.json(
                {"cause": cause or message.rpartition(": ")[2], "message": message, "response": status}, status
            )
        return self.json({"message": message}, status)

    def no_such_container(self, wanted: str) -> Answer:
        """Return the response for an unknown container."""
        if self.podman:
            return self.error(404, f'no container with name or ID "{wanted}" found: no such container')
        return self.error(404, f"No such container: {wanted}")

    def no_such_page(self) -> Answer:
        """Return the response for a path outside the API."""
        if self.podman:
            return Answer(404, {"Content-Type": "text/plain; charset=utf-8"}, b"Not Found\n")
        return Answer(404, {"Content-Type": "application/json"}, b'{"message":"page not found"}\n')

    def refuse_version(self, asked: tuple[int, int]) -> Answer | None:
        """Return the error for an unsupported API version; ``None`` if supported. Podman supports all."""
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
        """Return the response to ``/_ping``."""
        more = {"Cache-Control": "no-cache, no-store, must-revalidate", "Pragma": "no-cache"}
        return Answer(200, self.headers("text/plain; charset=utf-8") | more, b"OK")

    def describe(self) -> dict[str, Any]:
        """Return the response to ``/version``."""
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
    """Return the dialect of an engine. Omitted versions are derived from the given ones.

    Args:
        flavour: ``docker`` or ``podman``.
        api: newest API version, e.g. ``"1.41"``.
        min_api: oldest API version; by default the oldest that the real engine supports.
        version: engine version; ``"4.3.1"`` by default for Podman.

    Raises:
        ValueError: a version is not numbers separated by dots.

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
