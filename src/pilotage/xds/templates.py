"""Serializes messages by filling in a template instead of building each message. Pure.

Most routes differ only in a name and an address. Filling in a template is ten times as fast as building a message for
each route. The texts of the template must have the same lengths.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["FilledTemplate", "Template", "address_samples", "name_samples", "template"]

_SHORTEST: Final = len("1.1.1.1")

Samples = tuple[str, str]
"""Two texts of the same length that occur nowhere else in a message."""


class Template(msgspec.Struct, frozen=True):
    """A serialized message in which some texts can be replaced by others of the same lengths.

    Attributes:
        parts: the message, split so that every second part is a text to replace.
        slots: for each text in ``parts`` to replace, the index of its replacement in the arguments of :meth:`fill`.

    """

    parts: tuple[bytes, ...]
    slots: tuple[int, ...]

    def fill(self, *texts: bytes) -> bytes:
        """Return the serialized message with the given texts, which must have the same lengths."""
        parts = list(self.parts)
        parts[1::2] = [texts[slot] for slot in self.slots]
        return b"".join(parts)


class FilledTemplate(msgspec.Struct, frozen=True, gc=False):
    """A message, stored as its template and its texts. This takes a fifth of the memory.

    Attributes:
        template: the template, which the messages of other routes share.
        texts: the texts for the template.

    """

    template: Template
    texts: tuple[str, ...]

    @property
    def body(self) -> bytes:
        """The serialized message."""
        return self.template.fill(*(text.encode() for text in self.texts))


def template(serialize: Callable[..., bytes], *samples: Samples) -> Template | None:
    """Return the template of a message.

    Args:
        serialize: builds the message from as many texts as there are samples.
        samples: for each text, two samples of the length that texts for this template must have.

    Returns:
        The template; ``None`` if a text is so short that it cannot be distinguished from the rest of the message.

    """
    first, second = ([text.encode() for text in texts] for texts in zip(*samples, strict=True))
    pattern = b"|".join(re.escape(text) for text in first)
    parts = re.split(b"(%b)" % pattern, serialize(*(text.decode() for text in first)))
    made = Template(tuple(parts), tuple(first.index(part) for part in parts[1::2]))
    return made if made.fill(*second) == serialize(*(text.decode() for text in second)) else None


def name_samples(length: int) -> Samples:
    """Return samples of a name."""
    return ("qj" * length)[:length], ("xk" * length)[:length]


def address_samples(length: int) -> Samples:
    """Return samples of an IPv4 address: four numbers of one to three equal digits."""
    more = length - _SHORTEST
    counts = [1 + max(0, min(2, more - 2 * place)) for place in range(4)]
    return ".".join("1" * count for count in counts), ".".join("2" * count for count in counts)
