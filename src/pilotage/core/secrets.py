"""Decides which parts of labels, files and addresses may be shown. Pure.

No other module decides this. A value is shown if every name on the path to it is known and its field cannot contain a
secret (:class:`Visibility`). Everything else is hidden, so a misspelled name hides its value, too. Passwords in URLs,
values in queries, credentials, and words that look like keys or tokens are removed even from the values that are shown.
"""

from __future__ import annotations

import re
from collections.abc import Mapping  # msgspec reads the annotation
from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = [
    "EVERYTHING",
    "HEADER_NAMES",
    "HIDDEN",
    "SHOWN",
    "UNSEEN",
    "Visibility",
    "clean",
    "clean_value",
    "fold",
    "hidden_texts",
    "holds_secret",
    "redact",
    "shown_name",
    "shown_text",
    "without",
]

HIDDEN: Final = "<hidden>"

_AT: Final = re.compile(r"@|%(?:25)*40")
_COLON: Final = re.compile(r":(?!//|\d+/)|%(?:25)*3A", re.IGNORECASE)
"""The colon after a user name. The colons in ``://`` and before a port (``:80/``) do not match."""
_WORD_WITH_USER: Final = re.compile(r"[^\s\"'`]+")
_BEFORE_USER: Final = re.compile(r".*[/\\,|(\[{]", re.DOTALL)
_LONE_USER: Final = re.compile(r"(.*?(?<!ssh:)//)(?!<\w+>)[^/?#]+", re.DOTALL)
_DIGEST: Final = re.compile(r"sha(?:256|512):[0-9a-f]{32,}\b")
_QUERY: Final = re.compile(
    r"((?:[?&;]|\#(?=[a-z_%])|%(?:25)*(?:3F|26|3B|23))"
    r"(?:(?!%(?:25)*(?:3D|3F|26|3B|23))[^\s=&\#;?\"']){1,100}(?:=|%(?:25)*3D))"
    r"(?!<\w+>)(?:[^&\#\s\"',}\]]|[',}\]](?=[^\s,}\]]))+",
    re.IGNORECASE,
)
"""A parameter in a query, a fragment or a path (``;a=b``), percent-encoded or not.

Its value extends to the end of the text, or to a character that may end it in YAML: a quotation mark, comma or bracket.
"""
_HEADER_LINE: Final = re.compile(
    r"(?<![\w-])((?:X-[\w-]{1,60}"
    r"|(?:[\w-]{0,40}[_-])?(?:api-?key|key|token|secret|passw(?:or)?d|authorization|cookie|credentials?)"
    r"(?:[_-][\w-]{0,20})?)\s{0,3}[:=]\s{0,3})(?!<\w+>)\S.*",
    re.IGNORECASE,
)
"""A header with its value, written where only a text or a name is expected."""
_CREDENTIALS: Final = re.compile(r"\b((?:bearer|basic)\s+)(?=\S*[\d=+/_.-])(?!<\w+>)[^\s\"',}\]]+", re.IGNORECASE)
_KEY: Final = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL)
_TOKEN: Final = re.compile(
    r"\beyJ[\w-]{8,}(?:\.[\w-]*)*"  # JSON Web Tokens
    r"|\b(?:gh[opsur]|github_pat|glpat|gldt|xox[abeprs]|npm|dop_v1|hvs|shpat|pypi|dckr_pat|sk|pk|rk)[-_][\w.-]{8,}"
    r"|\b(?:AKIA|ASIA)[A-Z0-9]{12,}|\bAIza[\w-]{20,}"
)
_WORD: Final = re.compile(r"[A-Za-z0-9+/_=-]{20,}")
_HEX: Final = re.compile(r"[0-9a-fA-F]{32,}")


def clean(text: str) -> str:
    """Hide texts that are always secret: passwords in URLs, URL parameters, credentials, private keys and tokens."""
    if "@" in text or "40" in text:
        text = _WORD_WITH_USER.sub(_without_user, text)
    if "=" in text or "%" in text:
        text = _QUERY.sub(rf"\1{HIDDEN}", text)
    if "-----BEGIN" in text:
        text = _KEY.sub(HIDDEN, text)
    if len(text) > 7:
        text = _TOKEN.sub(HIDDEN, text)
        if "ear" in text or "EAR" in text or "asic" in text or "ASIC" in text:
            text = _CREDENTIALS.sub(rf"\1{HIDDEN}", text)
    return text


def _without_user(match: re.Match[str]) -> str:
    """Hide ``user:password`` in a word. A user without a password is hidden only in URLs other than ``ssh://``."""
    word = match.group()
    found = [at for at in _AT.finditer(word) if not _DIGEST.match(word, at.end())]
    if not found:
        return word
    head, tail = word[: found[-1].start()], word[found[-1].start() :]
    colon = _COLON.search(head)
    if colon is not None:
        before = _BEFORE_USER.match(head[: colon.start()])
        return f"{before.group() if before else ''}{HIDDEN}{tail}"
    lone = _LONE_USER.fullmatch(head)  # a user without a password is a token, except in ssh addresses
    return f"{lone[1]}{HIDDEN}{tail}" if lone else word


def clean_value(text: str) -> str:
    """Hide secrets like :func:`clean`, and also values of headers and long words of letters and digits."""
    return _WORD.sub(_unless_readable, _without_header(clean(text)))


def _without_header(text: str) -> str:
    return _HEADER_LINE.sub(rf"\1{HIDDEN}", text) if ":" in text or "=" in text else text


def holds_secret(text: str) -> bool:
    """Return whether a name contains a secret, such as URL user information, a URL parameter or a header's value."""
    return _without_header(clean(text)) != text


def _unless_readable(match: re.Match[str]) -> str:
    word = match.group()
    if _HEX.fullmatch(word):
        return word if word.isdigit() else HIDDEN
    if "/" in word[:1] or word.count("/") > 1 or word.count("-") + word.count("_") > 2:
        return word  # a path, or words
    kinds = [any(map(test, word)) for test in (str.isdigit, str.islower, str.isupper)]
    return HIDDEN if all(kinds) else word


def fold(name: str) -> str:
    """Return the form in which field names are compared: lower case, no underscores (LABELS II.6.1)."""
    return name.lower().replace("_", "")


class Visibility(msgspec.Struct, frozen=True):
    """Which parts of a value, and of the values below it, may be shown.

    Attributes:
        shown: whether single values and lists of them may be shown.
        headers: whether these values are names of headers. If so, any other text, such as a header with its value, is
            hidden.
        names: whether the names in a mapping may be shown, but not its values, as for HTTP headers.
        fields: folded name -> what may be shown below it. Nothing may be shown below other names.
        everything: whether everything is shown, even secrets, because the reader has access to the secrets anyway.

    """

    shown: bool = False
    headers: bool = False
    names: bool = False
    fields: Mapping[str, Visibility] = {}
    everything: bool = False

    def at(self, path: Iterable[str]) -> Visibility:
        """Return the visibility at a path. List indexes, as in ``allow[2]``, are ignored."""
        found = self
        if self.everything:
            return self
        for name in path:
            below = found.fields.get(fold(name.partition("[")[0]))
            if below is None:
                return UNSEEN
            found = below
        return found

    def of_item(self, item: object) -> Visibility:
        """Return the visibility of a list item."""
        return (
            msgspec.structs.replace(self, names=False, fields={})
            if self.shown and not isinstance(item, dict)
            else UNSEEN
        )


UNSEEN: Final = Visibility()
SHOWN: Final = Visibility(shown=True)
HEADER_NAMES: Final = Visibility(shown=True, headers=True)
EVERYTHING: Final = Visibility(shown=True, everything=True)
_HEADER: Final = re.compile(r"[A-Za-z][\w.-]{0,63}")


def redact(value: Any, visible: Visibility) -> Any:
    """Replace each secret in a value by ``<hidden>``. Null, empty strings and booleans are never secret.

    Args:
        value: text, number, boolean, ``None``, or mappings and lists of these.
        visible: which parts of it may be shown.

    """
    if visible.everything or value is None or value == "" or isinstance(value, bool):
        return value
    if isinstance(value, dict):
        if not (visible.fields or visible.names):
            return HIDDEN if value else value
        return {shown_name(key): redact(item, visible.at((key,))) for key, item in value.items()}
    if isinstance(value, list | tuple):
        if not (visible.shown or visible.names):
            return HIDDEN if value else value
        return [redact(item, visible.of_item(item)) for item in value]
    if not visible.shown:
        return HIDDEN
    if visible.headers and isinstance(value, str):
        return _LISTED.sub(_shown_header, value)
    return clean_value(value) if isinstance(value, str) else value


_LISTED: Final = re.compile(r"[^\s,\[\]\"'-][^,\[\]\n\"']*")


def _shown_header(match: re.Match[str]) -> str:
    return shown_name(match.group().rstrip())


def shown_name(key: str) -> str:
    """Return the name of a hidden value; ``<hidden>`` for a text that is no name and may be the value."""
    return key if _HEADER.fullmatch(key) and clean_value(key) == key else HIDDEN


def hidden_texts(value: Any, visible: Visibility) -> Iterator[str]:
    """Yield the texts in a value that :func:`redact` hides."""
    if isinstance(value, dict):
        for key, item in value.items():
            if not _HEADER.fullmatch(str(key)):
                yield str(key)
            yield from hidden_texts(item, visible.at((key,)))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from hidden_texts(item, visible.of_item(item))
    elif redact(value, visible) != value and (not visible.shown or visible.headers):
        yield str(value)


def shown_text(text: str, visible: Visibility) -> str:
    """Return the text of a label or file with each secret replaced by ``<hidden>``, for use in a problem."""
    return str(redact(text, visible))


def without(text: str, secrets: Iterable[str]) -> str:
    """Hide the given secrets, escaped or not, in a text such as Envoy's error message; then :func:`clean` it."""
    forms = {form.strip() for secret in secrets for form in (secret, *secret.split(), _escaped(secret))}
    for form in sorted((form for form in forms if len(form) > 2), key=len, reverse=True):
        text = text.replace(form, HIDDEN)
    return clean(text)


def _escaped(text: str) -> str:
    """Return a text escaped as Protocol Buffers escape a string that they print."""
    return "".join(
        f"\\{char}" if char in "\"'\\" else char if 0x20 <= ord(char) < 0x7F else _octal(char) for char in text
    )


def _octal(char: str) -> str:
    return {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(char) or "".join(f"\\{byte:03o}" for byte in char.encode())
