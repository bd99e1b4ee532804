"""Parses image names by the OCI reference grammar (decision 13). Pure."""

from __future__ import annotations

import msgspec

__all__ = ["ContainerImage", "image_name", "parse_image"]


class ContainerImage(msgspec.Struct, frozen=True):
    """An image and the parts of its name.

    Attributes:
        author: everything before the last part of the path, including the registry host: ``ghcr.io/acme/team``,
            ``localhost:5000``; ``library`` if there is nothing before it.
        name: the last part of the path: ``nginx``.
        tag: the tag; ``latest`` if there is neither tag nor digest, ``""`` if there is only a digest.
        sha256: the image's id without its ``sha256:`` prefix; ``""`` if the engine does not report it.
        version: the label ``org.opencontainers.image.version``; ``""`` if there is none.

    """

    author: str = "library"
    name: str = ""
    tag: str = "latest"
    sha256: str = ""
    version: str = ""

    @property
    def path(self) -> str:
        """The author without the registry host: ``acme/team`` for ``ghcr.io/acme/team``; ``library`` if empty."""
        return _without_registry(self.author)

    def __str__(self) -> str:
        author = "" if self.author == "library" else f"{self.author}/"
        return f"{author}{self.name}:{self.tag}" if self.tag else f"{author}{self.name}"


def _without_registry(author: str) -> str:
    first, slash, rest = author.partition("/")
    is_host = "." in first or ":" in first or first == "localhost"
    if not is_host:
        return author
    return rest if slash else "library"


def _split(reference: str) -> tuple[str, str, str]:
    """Return author, name and tag of a reference such as ``host:5000/a/b:tag@sha256:…``."""
    rest, at, _digest = reference.partition("@")
    head, _slash, last = rest.rpartition("/")
    name, colon, tag = last.partition(":")
    if not colon:
        tag = "" if at else "latest"
    return (head or "library", name, tag)


def parse_image(reference: str, image_id: str = "", version: str = "") -> ContainerImage:
    """Parse the ``Image`` and ``ImageID`` of a container. Accepts any text.

    A bare image id (``sha256:0123…``) is read as the name ``sha256`` with the id as its tag, as the grammar requires.
    """
    author, name, tag = _split(reference)
    return ContainerImage(author, name, tag, image_id.partition(":")[2], version)


def image_name(reference: str) -> str:
    """Return only the last part of an image's path: ``nginx`` for ``ghcr.io/acme/nginx:1``."""
    return reference.partition("@")[0].rpartition("/")[2].partition(":")[0]
