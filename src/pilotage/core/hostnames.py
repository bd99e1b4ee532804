"""Spells host names as clients request them: in lower case, in ASCII and without a final dot. Pure."""

from __future__ import annotations

from typing import Final

__all__ = ["ascii_host"]

_LONGEST: Final = 253
"""Maximum characters of a host name (RFC 1035)."""
_FOREIGN: Final = frozenset("|;&/\\:'\"`(){}<>$%#@=+,~^ ")


def ascii_host(name: str) -> str:
    """Return a host name as clients request it, or a wildcard or glob for such names.

    Labels with letters outside ASCII become A-labels: ``bücher.example.com`` becomes ``xn--bcher-kva.example.com``.
    The mapping is that of browsers (UTS #46, nontransitional). A name that cannot be mapped or has a character that no
    name or glob may have is only lower-cased, so that messages show it as it was written.
    """
    name = name.lower()
    if len(name) > 1 and name[-1] == "." and name[-2] != ".":
        name = name[:-1]
    if name.isascii() or len(name) > _LONGEST or not _FOREIGN.isdisjoint(name):
        return name
    import idna  # noqa: PLC0415  # few names need it

    try:
        mapped = idna.uts46_remap(name, std3_rules=False, transitional=False)
        labels = [
            label if label.isascii() else f"xn--{label.encode('punycode').decode()}" for label in mapped.split(".")
        ]
    except (idna.IDNAError, UnicodeError):
        return name
    return ".".join(labels)
