"""Defines kinds of values with special notations: folders, icons, log retention, status ranges. Pure."""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING, Any, Final

from pilotage.core.secrets import SHOWN, Visibility, fold
from pilotage.routes.fields import UNSET, FieldContext, Integer, Kind, Path, Text, scalar_text

if TYPE_CHECKING:
    from pilotage.core.yaml import Located

__all__ = ["Folder", "Icon", "Index", "NoEffect", "Retention", "StatusRange"]


class NoEffect(Text):
    """The kind of a field that pilotage accepts and shows, but that has no effect."""

    def read(self, value: Located, context: FieldContext) -> Any:
        text = super().read(value, context)
        if text is not UNSET and text:
            message = "this field has no effect, because the alias in the label's key is the route's name"
            context.warn(value, message, "remove it; proxy.aliases lists the names of a container")
        return text


class Folder(Path):
    """A folder on pilotage's own machine, cleaned like Go's ``path.Clean`` (LABELS II.6.2)."""

    def read(self, value: Located, context: FieldContext) -> Any:
        text = super().read(value, context)
        if text is UNSET or not text.startswith("/"):
            return text
        if context.budget.holds_secret(text):  # cleaning could make the secret unrecognizable
            return self.wrong(value, context, "write a folder such as /srv/www")
        return "/" + posixpath.normpath(text).lstrip("/")


class Index(Text):
    """The file below the root that a file server returns for a folder. Its path starts with a slash (LABELS II.6.2)."""

    name = "path"

    def read(self, value: Located, context: FieldContext) -> Any:
        text = super().read(value, context)
        if text is UNSET or not text:
            return UNSET
        return text if text.startswith("/") else f"/{text}"


_ICON: Final = re.compile(r"@(selfhst|walkxcode)/[^/\s]+\.(svg|png|webp)")


class Icon(Text):
    """``https://…``, ``/path``, ``@target/path``, ``@selfhst/name.svg``, ``@walkxcode/name.png``."""

    name = "icon"

    def read(self, value: Located, context: FieldContext) -> Any:
        text = super().read(value, context)
        if text is UNSET or not text:
            return text
        if text.startswith(("http://", "https://", "/", "@target/")) or _ICON.fullmatch(text):
            return text
        return self.wrong(
            value,
            context,
            "write a URL, /path, @target/path, @selfhst/name.svg or @walkxcode/name.png (svg, png, webp)",
        )


_RETENTION: Final = re.compile(
    r"\s*(?:(?P<days>[0-9]{1,6})\s*(?P<unit>days?|weeks?|months?)|last\s+(?P<last>[0-9]{1,9})"
    r"|(?P<size>[0-9]{1,9})\s*(?P<bytes>KB|MB|GB|kb|mb|gb))\s*"
)
_KEEP: Final = ("days", "last", "keep_size")
_AMOUNT: Final = Integer(0)
_LONGEST: Final = 256  # characters
_DAYS: Final = {"day": 1, "week": 7, "month": 30}
_BYTES: Final = {"kb": 1024, "mb": 1024**2, "gb": 1024**3}


class Retention(Kind):
    """``7 days``, ``2 weeks``, ``last 100``, ``50 MB``, or a mapping with ``days``, ``last`` or ``keep_size``."""

    name = "retention"
    visible = Visibility(shown=True, fields={fold(name): SHOWN for name in ("days", "last", "keep_size")})

    def read(self, value: Located, context: FieldContext) -> Any:
        if value.value is None or value.value == "":
            return UNSET
        if isinstance(value.value, dict):
            return self._mapping(value.value, context)
        is_text = isinstance(value.value, str) and len(value.value) <= _LONGEST
        match = _RETENTION.fullmatch(value.value) if is_text else None
        if match is None:
            return self.wrong(value, context, "write one such as '7 days', '2 weeks', 'last 100' or '50 MB'")
        if match["days"]:
            return {"days": int(match["days"]) * _DAYS[match["unit"].rstrip("s")]}
        if match["last"]:
            return {"last": int(match["last"])}
        return {"keep_size": int(match["size"]) * _BYTES[match["bytes"].lower()]}

    def _mapping(self, given: dict[str, Located], context: FieldContext) -> Any:
        path, before = context.path, context.errors
        found: dict[str, int] = {}
        for key, item in given.items():
            context.path = f"{path}.{key}"
            name = key.lower()
            if name not in _KEEP:
                hint = context.did_you_mean(key, _KEEP) or "write days, last or keep_size"
                context.error(item, "unknown field", hint, at_key=True)
                continue
            number = _AMOUNT.read(item, context)
            if number is not UNSET and number:
                found[name] = number
        context.path = path
        return found if found and context.errors == before else UNSET


class StatusRange(Kind):
    """One HTTP status, ``404``, or a range, ``400-499``."""

    name = "status code or range"

    def read(self, value: Located, context: FieldContext) -> Any:
        text = scalar_text(value.value)
        match = re.fullmatch(r"([1-5][0-9]{2})(?:-([1-5][0-9]{2}))?", text or "")
        if match is None or (match[2] and match[2] < match[1]):
            return self.wrong(value, context, "write one such as 404 or 400-499")
        return text
