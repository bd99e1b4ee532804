"""Writes conditions about responses for the script in Envoy, and defines the functions that test them. Pure.

The script runs ``["if", COUNT, CHECK…]`` before the commands of a rule: unless the checks hold, it skips COUNT
commands. A check is ``=s`` (status) or ``=h`` (header) with a sign, and ``=&`` separates parts that must all hold.
Patterns are written in Polish notation, and matched in bounded time by following all positions at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pilotage.routes.rules import Alternatives, Chain, Chars, Edge, Repeat, RuleError, pattern_size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pilotage.routes.rules import Check, Condition, Node, Pattern

__all__ = ["GUARDS_SCRIPT", "LONGEST_VALUE", "guard_parts"]

_LARGEST: Final = 150
"""Maximum size of a pattern, because Envoy's own threads match it."""
LONGEST_VALUE: Final = 500
"""Maximum characters of a value that is matched with a glob or regex."""


def guard_parts(condition: Condition) -> str:
    """Return a condition about responses for the script: its parts, separated by tabs.

    Raises:
        RuleError: a pattern is too large.

    """
    return "\t&\t".join("\t".join(map(_check, part)) for part in condition)


def _check(check: Check) -> str:
    sign = "!" if check.negate else "+"
    if check.subject == "status":
        return f"s{sign}{check.value}"
    return f"h{sign}{check.key.lower()} {_pattern(check.pattern) if check.pattern is not None else '?'}"


def _pattern(pattern: Pattern) -> str:
    sign = "!" if pattern.negate else "+"
    if pattern.node is None:
        return f"={sign}{pattern.text.encode().hex()}"
    if pattern_size(pattern.node) > _LARGEST:
        raise RuleError("a pattern of the condition resp_header is too large", "use a shorter one")
    kind = "g" if pattern.kind == "glob" else "r"
    return f"{kind}{sign}{' '.join(_words(pattern.node))}"


def _words(node: Node) -> Iterator[str]:
    match node:
        case Chars(ranges):
            yield "c"
            yield str(len(ranges))
            for low, high in ranges:
                yield str(low)
                yield str(high)
        case Chain(items) | Alternatives(items):
            yield "s" if isinstance(node, Chain) else "a"
            yield str(len(items))
            for item in items:
                yield from _words(item)
        case Repeat(item, least, most):
            yield "r"
            yield str(least)
            yield str(-1 if most is None else most)
            yield from _words(item)
        case Edge(is_end):
            yield "e"
            yield str(int(is_end))


GUARDS_SCRIPT: Final = """
local function code_points(text)
  local found, at = {}, 1
  while at <= #text do
    local code, count = text:byte(at), 0
    if code >= 0xC2 and code < 0xE0 then code, count = code - 0xC0, 1
    elseif code >= 0xE0 and code < 0xF0 then code, count = code - 0xE0, 2
    elseif code >= 0xF0 and code < 0xF5 then code, count = code - 0xF0, 3 end
    for place = at + 1, at + count do code = code * 64 + (text:byte(place) or 0x80) % 64 end
    found[#found + 1] = code
    at = at + count + 1
  end
  return found
end

local read_node
local readers = {
  c = function(next)
    local ranges = {}
    for place = 1, next() do ranges[place] = {next(), next()} end
    return {"c", ranges}
  end,
  r = function(next) return {"r", next(), next(), read_node(next)} end,
  e = function(next) return {"e", next()} end,
}
local function several(kind)
  return function(next)
    local items = {}
    for place = 1, next() do items[place] = read_node(next) end
    return {kind, items}
  end
end
readers.s, readers.a = several("s"), several("a")

function read_node(next)
  return readers[next(true)](next)
end

local function has_code(ranges, code)
  for _, range in ipairs(ranges) do
    if code >= range[1] and code <= range[2] then return true end
  end
  return false
end

-- Return the set of positions where a match can end that begins at one of some positions.
local function ends_of(node, codes, starts)
  local kind, found = node[1], {}
  if kind == "c" then
    for at in pairs(starts) do
      if codes[at] and has_code(node[2], codes[at]) then found[at + 1] = true end
    end
  elseif kind == "s" then
    found = starts
    for _, item in ipairs(node[2]) do found = ends_of(item, codes, found) end
  elseif kind == "a" then
    for _, item in ipairs(node[2]) do
      for at in pairs(ends_of(item, codes, starts)) do found[at] = true end
    end
  elseif kind == "e" then
    local edge = node[2] == 1 and #codes + 1 or 1
    if starts[edge] then found[edge] = true end
  else
    local count = 0
    while count < node[2] and next(starts) do
      starts, count = ends_of(node[4], codes, starts), count + 1
    end
    if count < node[2] then return found end
    for at in pairs(starts) do found[at] = true end
    while next(starts) and (node[3] < 0 or count < node[3]) do
      local fresh = {}
      for at in pairs(ends_of(node[4], codes, starts)) do
        if not found[at] then found[at], fresh[at] = true, true end
      end
      starts, count = fresh, count + 1
    end
  end
  return found
end

local function matches_pattern(kind, program, value)
  if kind == "=" then
    return value == program:gsub("%x%x", function(code) return string.char(tonumber(code, 16)) end)
  end
  local codes = code_points(value)
  if #codes > LONGEST then return nil end
  local words = program:gmatch("%S+")
  local node = read_node(function(as_text)
    local word = words()
    return as_text and word or tonumber(word)
  end)
  if kind == "g" then return ends_of(node, codes, {true})[#codes + 1] or false end
  local starts = {}
  for at = 1, #codes + 1 do starts[at] = true end
  return next(ends_of(node, codes, starts)) ~= nil
end

local function has_header(headers, name, pattern)
  local count = headers:getNumValues(name)
  if pattern == "?" then return count > 0 end
  local kind, sign, program = pattern:match("^(.)(.)(.*)$")
  local any = false
  for index = 0, count - 1 do
    local found = matches_pattern(kind, program, headers:getAtIndex(name, index))
    if found == nil then return false end
    any = any or found
  end
  if sign == "!" then return count > 0 and not any end
  return any
end

local function check_holds(headers, check)
  local kind, sign, rest = check:match("^(.)(.)(.*)$")
  local found
  if kind == "s" then
    local low, high = rest:match("^(%d+)-(%d+)$")
    local status = tonumber(headers:get(":status")) or 0
    found = status >= tonumber(low) and status <= tonumber(high)
  else
    local name, pattern = rest:match("^(%S+) (.*)$")
    found = has_header(headers, name, pattern)
  end
  return found == (sign == "+")
end

local function guard_holds(headers, text)
  local holds = false
  for check in (text .. "\\t&"):gmatch("[^\\t]+") do
    if check == "&" then
      if not holds then return false end
      holds = false
    else
      holds = holds or check_holds(headers, check)
    end
  end
  return true
end
""".replace("LONGEST", str(LONGEST_VALUE))
