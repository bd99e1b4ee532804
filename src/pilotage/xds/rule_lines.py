"""Lets Envoy write the lines of the command ``log`` in rules. Pure.

The script of :mod:`pilotage.xds.rule_script` composes a request's lines. Two access logs of every listener write them,
because listeners must not change with routes. A line is a JSON object in ASCII, so that clients cannot forge lines.
"""

from __future__ import annotations

from typing import Any, Final

from envoy.config.accesslog.v3 import accesslog_pb2
from envoy.config.core.v3 import base_pb2, substitution_format_string_pb2
from envoy.extensions.access_loggers.stream.v3 import stream_pb2
from envoy.type.matcher.v3 import metadata_pb2, value_pb2

from pilotage.xds.resources import packed

__all__ = ["LINES", "LINES_SCRIPT", "line_logs"]

LINES: Final = "pilotage.lines"
"""Namespace of the dynamic metadata with a request's lines. The keys are ``stdout`` and ``stderr``."""

_LONGEST: Final = 2_000
"""Maximum bytes of a message."""
_AT_ONCE: Final = 100
_PER_SECOND: Final = 20
"""Requests whose lines are written, for each route and worker thread of Envoy. Others are only counted."""
_REMEMBERED: Final = 10_000
"""Maximum number of routes whose requests are counted."""

_STREAMS: Final = {"stdout": stream_pb2.StdoutAccessLog, "stderr": stream_pb2.StderrAccessLog}


def line_logs() -> list[Any]:
    """Return the access logs that write the lines."""
    return [_line_log(name) for name in _STREAMS]


def _line_log(name: str) -> Any:
    path = [metadata_pb2.MetadataMatcher.PathSegment(key=name)]
    value = value_pb2.ValueMatcher(present_match=True)
    has_lines = accesslog_pb2.MetadataFilter(matcher=metadata_pb2.MetadataMatcher(filter=LINES, path=path, value=value))
    has_lines.match_if_key_not_found.value = False
    source = base_pb2.DataSource(inline_string=f"%DYNAMIC_METADATA({LINES}:{name})%\n")
    formatted = substitution_format_string_pb2.SubstitutionFormatString(text_format_source=source)
    return accesslog_pb2.AccessLog(
        name=f"envoy.access_loggers.{name}",
        filter=accesslog_pb2.AccessLogFilter(metadata_filter=has_lines),
        typed_config=packed(_STREAMS[name](log_format=formatted)),
    )


LINES_SCRIPT: Final = (
    r"""
local function trimmed(text)
  local start = text:match("^%s*()")
  return start > #text and "" or text:match(".*%S", start)
end

local function point(bytes, at)
  local first = bytes:byte(at)
  local size = first >= 0xF5 and 0 or first >= 0xF0 and 4 or first >= 0xE0 and 3 or first >= 0xC2 and 2 or 0
  if size == 0 or at + size - 1 > #bytes then return nil, 1 end
  local code = first % (size == 2 and 32 or size == 3 and 16 or 8)
  for place = at + 1, at + size - 1 do
    local byte = bytes:byte(place)
    if byte > 0xBF then return nil, 1 end
    code = code * 64 + byte - 0x80
  end
  local least = size == 2 and 0x80 or size == 3 and 0x800 or 0x10000
  if code < least or code > 0x10FFFF or (code >= 0xD800 and code <= 0xDFFF) then return nil, 1 end
  return code, size
end

local function escaped_points(bytes)
  local found, at = {}, 1
  while at <= #bytes do
    local code, size = point(bytes, at)
    at = at + size
    if not code then
      found[#found + 1] = "\\ufffd"
    elseif code < 0x10000 then
      found[#found + 1] = string.format("\\u%04x", code)
    else
      code = code - 0x10000
      found[#found + 1] = string.format("\\u%04x\\u%04x", 0xD800 + math.floor(code / 1024), 0xDC00 + code % 1024)
    end
  end
  return table.concat(found)
end

local function quoted(text)
  text = text:gsub('[%z\1-\31"\\\127]', function(char) return string.format("\\u%04x", char:byte()) end)
  return '"' .. text:gsub("[\128-\255]+", escaped_points) .. '"'
end

local function line(level, route, message)
  if #message > LONGEST then message = message:sub(1, LONGEST) .. "..." end
  return string.format(
    '{"time":"%s","level":"%s","route":%s,"message":%s}',
    os.date("!%Y-%m-%dT%H:%M:%SZ"), level, quoted(route), quoted(message)
  )
end

local buckets, count = {}, 0

-- Return whether a route may write lines now, and how many requests' lines have been left out.
local function may_log(route)
  local now = os.time()
  local bucket = buckets[route]
  if not bucket then
    if count >= REMEMBERED then buckets, count = {}, 0 end
    bucket = {tokens = AT_ONCE, time = now, missed = 0}
    buckets[route], count = bucket, count + 1
  end
  bucket.tokens = math.min(AT_ONCE, bucket.tokens + (now - bucket.time) * PER_SECOND)
  bucket.time = now
  if bucket.tokens < 1 then
    bucket.missed = bucket.missed + 1
    return false, 0
  end
  bucket.tokens = bucket.tokens - 1
  local missed = bucket.missed
  bucket.missed = 0
  return true, missed
end

local function write(handle, stream, text)
  local metadata = handle:streamInfo():dynamicMetadata()
  local written = (metadata:get("LINES") or {})[stream]
  metadata:set("LINES", stream, written and written .. "\n" .. text or text)
end

local function write_line(handle, command, route, message)
  if message == "" then return end
  local level, stream = command[2]:match("^(%l+) (%l+)$")
  write(handle, stream, line(level, route, trimmed(message)))
end
""".replace("LONGEST", str(_LONGEST))
    .replace("REMEMBERED", str(_REMEMBERED))
    .replace("AT_ONCE", str(_AT_ONCE))
    .replace("PER_SECOND", str(_PER_SECOND))
    .replace('"LINES"', f'"{LINES}"')
)
"""Functions for the script. ``write_line`` adds a line to a request; ``may_log`` limits how many requests have some."""
