"""Fields with a notation of their own: icons, log retention, ranges of statuses. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from pilotage.routes.fields import UNSET, FieldContext, Kind, Text, scalar_text

if TYPE_CHECKING:
    from pilotage.core.yaml import Located

__all__ = ["Icon", "Retention", "StatusRange"]

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
_DAYS: Final = {"day": 1, "week": 7, "month": 30}
_BYTES: Final = {"kb": 1024, "mb": 1024**2, "gb": 1024**3}


class Retention(Kind):
    """``7 days``, ``2 weeks``, ``last 100``, ``50 MB``; read into ``{"days": 7}``, ``{"last": 100}``, ``keep_size``."""

    name = "retention"

    def read(self, value: Located, context: FieldContext) -> Any:
        if value.value is None or value.value == "":
            return UNSET
        match = _RETENTION.fullmatch(value.value) if isinstance(value.value, str) else None
        if match is None:
            return self.wrong(value, context, "write one such as '7 days', '2 weeks', 'last 100' or '50 MB'")
        if match["days"]:
            return {"days": int(match["days"]) * _DAYS[match["unit"].rstrip("s")]}
        if match["last"]:
            return {"last": int(match["last"])}
        return {"keep_size": int(match["size"]) * _BYTES[match["bytes"].lower()]}


class StatusRange(Kind):
    """One HTTP status, ``404``, or a range, ``400-499``."""

    name = "status or a range of them"

    def read(self, value: Located, context: FieldContext) -> Any:
        text = scalar_text(value.value)
        match = re.fullmatch(r"([1-5][0-9]{2})(?:-([1-5][0-9]{2}))?", text or "")
        if match is None or (match[2] and match[2] < match[1]):
            return self.wrong(value, context, "write one such as 404 or 400-499")
        return text
