"""Defines the field ``access_log``: where and how the requests of a route are logged. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec

from pilotage.routes.fields import UNSET, Boolean, Choice, Duration, FieldContext, Kind, Path, Text
from pilotage.routes.formats import Retention, StatusRange
from pilotage.routes.mappings import Field, FreeMapping, ListOf, StructKind

if TYPE_CHECKING:
    from pilotage.core.yaml import Located

__all__ = ["AccessLog", "AccessLogKind"]

_BOOLEAN: Final = Boolean()
_TEXT: Final = Text()
_PATH: Final = Path()
_SECONDS: Final = Duration(0)


class FieldFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Settings for logging one group of fields, such as the request headers."""

    default: Annotated[str, Field(Choice(("keep", "drop", "redact")), "keep, drop or redact.", "drop")] = "drop"
    config: Annotated[dict[str, Any] | None, Field(FreeMapping(), "The same for individual names.")] = None


_HEADERS: Final = Field(StructKind(FieldFilter), "Request headers. Not in effect yet.", "", ("header",))
_COOKIES: Final = Field(StructKind(FieldFilter), "Cookies. Not in effect yet.", "", ("cookie",))


class LoggedFields(msgspec.Struct, frozen=True, kw_only=True):
    """Which details of a request are logged."""

    headers: Annotated[FieldFilter, _HEADERS] = FieldFilter()
    query: Annotated[FieldFilter, Field(StructKind(FieldFilter), "Query parameters.", "", ("queries",))] = FieldFilter(
        default="keep"
    )
    cookies: Annotated[FieldFilter, _COOKIES] = FieldFilter()


def _log_filter(kind: Kind) -> Any:
    """Return a struct type for a log filter with values of the given kind."""
    return msgspec.defstruct(
        "LogFilter",
        [
            ("negative", Annotated[bool, Field(_BOOLEAN, "Log everything except these.", "true")], False),
            ("values", Annotated[tuple[Any, ...], Field(ListOf(kind), "What to log.")], ()),
        ],
        frozen=True,
        kw_only=True,
    )


_StatusFilter = _log_filter(StatusRange())
_TextFilter = _log_filter(_TEXT)


class LogFilters(msgspec.Struct, frozen=True, kw_only=True):
    """Which requests are logged."""

    status_codes: Annotated[Any, Field(StructKind(_StatusFilter), "By status, such as 404 or 400-499.")] = None
    method: Annotated[Any, Field(StructKind(_TextFilter), "By method.")] = None
    host: Annotated[Any, Field(StructKind(_TextFilter), "By host.")] = None
    headers: Annotated[Any, Field(StructKind(_TextFilter), "By header, as Name or Name=value.")] = None
    cidr: Annotated[Any, Field(StructKind(_TextFilter), "By client address.")] = None


class AccessLog(msgspec.Struct, frozen=True, kw_only=True):
    """Settings for logging a route's requests."""

    path: Annotated[str, Field(_PATH, "File to log to. Not in effect yet.", "/var/log/app.log")] = ""
    stdout: Annotated[bool, Field(_BOOLEAN, "Log to pilotage's standard output.", "true")] = False
    format: Annotated[str, Field(Choice(("common", "combined", "json")), "common, combined or json.", "json")] = (
        "combined"
    )
    retention: Annotated[
        dict[str, int] | None,
        Field(Retention(), "How much to keep. Not in effect yet.", "7 days", ("keep",), default="30 days"),
    ] = None
    rotate_interval: Annotated[float | None, Field(_SECONDS, "Time between rotations. Not in effect yet.", "1h")] = None
    filters: Annotated[LogFilters, Field(StructKind(LogFilters), "Which requests are logged.")] = LogFilters()
    fields: Annotated[LoggedFields, Field(StructKind(LoggedFields), "Which details are logged.")] = LoggedFields()


class AccessLogKind(StructKind):
    """The kind of the field ``access_log``: a mapping that must name a destination."""

    def read(self, value: Located, context: FieldContext) -> Any:
        read = super().read(value, context)
        if read is not UNSET and not read.path and not read.stdout:
            context.error(
                value, "path or stdout is required", "set access_log.stdout to true, or access_log.path to a file"
            )
            return UNSET
        return read

    def dump(self, name: str, value: AccessLog) -> tuple[str, Any]:
        return super().dump(name, msgspec.structs.replace(value, retention=value.retention or {"days": 30}))
