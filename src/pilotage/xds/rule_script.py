"""Contains the script that runs commands of rules for which Envoy's routes have no setting. Pure.

The script changes the query, cookies, bodies and the status, writes log lines, and sets headers to values that Envoy
itself cannot compute. Only routes whose rules need the script run it. To replace the body of a request, it buffers the
old one, up to a limit. It drops bodies of responses as they arrive.

A route's metadata lists the commands: ``[command, name, part, …]``, see :mod:`pilotage.xds.rule_values`. Commands about
the response run when it arrives. Values from the request are computed earlier and kept in dynamic metadata.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from envoy.config.core.v3 import base_pb2
from envoy.extensions.filters.http.lua.v3 import lua_pb2

from pilotage.xds.resources import OFF, packed
from pilotage.xds.rule_guards import GUARDS_SCRIPT
from pilotage.xds.rule_lines import LINES_SCRIPT
from pilotage.xds.rule_values import script_parts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pilotage.xds.rule_outcomes import Compiled
    from pilotage.xds.rule_state import Outcome, ScriptEdit
    from pilotage.xds.variables import Upstream

__all__ = ["EDITS", "add_script", "rule_script", "script_settings"]

_ENABLED: Final = "edits"
_LARGEST: Final = 1 << 20
"""Maximum bytes of a body to replace. A request with a larger one gets 413."""
_REQUEST, _RESPONSE, _ROUTE, _HOLDS = "request", "response", "route", "holds"

EDITS: Final = "pilotage.edits"
"""Name of the filter, and namespace of the metadata with the commands."""


_SCRIPT: Final = (
    LINES_SCRIPT
    + GUARDS_SCRIPT
    + r"""
local function unescaped(text)
  return (text:gsub("+", " "):gsub("%%(%x%x)", function(code) return string.char(tonumber(code, 16)) end))
end

local function escaped(text)
  return (text:gsub("[^%w%-._~]", function(char) return string.format("%%%02X", char:byte()) end))
end

local function split_path(headers)
  local path = headers:get(":path") or ""
  local mark = path:find("?", 1, true)
  if not mark then return path, nil end
  return path:sub(1, mark - 1), path:sub(mark + 1)
end

local function each_pair(query)
  return (query or ""):gmatch("[^&]+")
end

local function name_of(pair)
  return unescaped(pair:match("^[^=]*"))
end

local function cookies_of(headers)
  local found = {}
  for index = 0, headers:getNumValues("cookie") - 1 do
    for pair in headers:getAtIndex("cookie", index):gmatch("[^;]+") do
      local equal = pair:find("=", 1, true)
      if equal then
        found[#found + 1] = {trimmed(pair:sub(1, equal - 1)), trimmed(pair:sub(equal + 1))}
      end
    end
  end
  return found
end

local function nth(values, index)
  return values[index + 1] or ""
end

local function redacted(text)
  if #text <= 8 then return "********" end
  return text:sub(1, 2) .. string.rep("*", math.min(#text - 4, 16)) .. text:sub(-2)
end

local function authority(headers)
  local host = headers:get(":authority") or ""
  local name, port = host:match("^(.*):(%d*)$")
  if name and not (name:find(":", 1, true) and name:sub(1, 1) ~= "[") then return name, port end
  return host, ""
end

local function scheme(headers)
  return headers:get("x-forwarded-proto") or headers:get(":scheme") or ""
end

local function client(handle)
  local address = handle:streamInfo():downstreamRemoteAddress()
  local host, port = address:match("^%[([^%]%%]+)[^%]]*%]:(%d+)$")
  if not host then host, port = address:match("^(.*):(%d+)$") end
  return host or address, port or "", address
end

local request_variables = {
  req_method = function(_, headers) return headers:get(":method") end,
  req_scheme = function(_, headers) return scheme(headers) end,
  req_host = function(_, headers) return (authority(headers)) end,
  req_port = function(_, headers) return select(2, authority(headers)) end,
  req_addr = function(_, headers) return headers:get(":authority") end,
  req_path = function(_, headers) return (split_path(headers)) end,
  req_query = function(_, headers) return select(2, split_path(headers)) end,
  req_uri = function(_, headers) return headers:get(":path") end,
  req_url = function(_, headers)
    return scheme(headers) .. "://" .. (headers:get(":authority") or "") .. (headers:get(":path") or "")
  end,
  req_content_type = function(_, headers) return headers:get("content-type") end,
  req_content_length = function(_, headers) return headers:get("content-length") end,
  remote_host = function(handle) return (client(handle)) end,
  remote_port = function(handle) return select(2, client(handle)) end,
  remote_addr = function(handle) return select(3, client(handle)) end,
  header = function(_, headers, name, index) return headers:getAtIndex(name, index) end,
  cookie = function(_, headers, name, index)
    local values = {}
    for _, pair in ipairs(cookies_of(headers)) do
      if pair[1] == name then values[#values + 1] = pair[2] end
    end
    return nth(values, index)
  end,
  arg = function(_, headers, name, index)
    local values = {}
    for pair in each_pair(select(2, split_path(headers))) do
      if name_of(pair) == name then values[#values + 1] = pair:match("=(.*)$") or "" end
    end
    return nth(values, index)
  end,
}

local response_variables = {
  status_code = function(headers) return headers:get(":status") end,
  resp_content_type = function(headers) return headers:get("content-type") end,
  resp_content_length = function(headers) return headers:get("content-length") end,
  resp_header = function(headers, name, index) return headers:getAtIndex(name, index) end,
}

-- Return what a part stands for; nil if it needs the response.
local function known(handle, part, as_sent)
  local kind = part:sub(1, 1)
  if kind == "=" then return part:sub(2) end
  local name, argument, index = part:match("^.([^\t]*)\t([^\t]*)\t(%d*)$")
  local found = request_variables[name]
  if not found then return nil end
  local value = found(handle, handle:headers(), argument, tonumber(index) or 0) or ""
  if name == "arg" and not as_sent then value = unescaped(value) end
  return kind == "*" and redacted(value) or value
end

local function answered(headers, part)
  local kind = part:sub(1, 1)
  if kind == "=" then return part:sub(2) end
  local name, argument, index = part:match("^.([^\t]*)\t([^\t]*)\t(%d*)$")
  local value = response_variables[name](headers, argument, tonumber(index) or 0) or ""
  return kind == "*" and redacted(value) or value
end

local function value_of(handle, command, as_sent)
  local found = {}
  for place = 3, #command do found[#found + 1] = known(handle, command[place], as_sent) end
  return table.concat(found)
end

local function edit_query(headers, change, name, value)
  local path, query = split_path(headers)
  local found, done = {}, change ~= "set"
  for pair in each_pair(query) do
    if change == "add" or name_of(pair) ~= name then
      found[#found + 1] = pair
    elseif not done then
      found[#found + 1] = escaped(name) .. "=" .. escaped(value)
      done = true
    end
  end
  if change == "add" or not done then found[#found + 1] = escaped(name) .. "=" .. escaped(value) end
  query = table.concat(found, "&")
  headers:replace(":path", query == "" and path or path .. "?" .. query)
end

local function edit_cookie(headers, change, name, value)
  value = (value:gsub("[^ -~]", ""):gsub('[";\\]', ""))
  if value:find("[ ,]") then value = '"' .. value .. '"' end
  local found, done = {}, change ~= "set"
  for _, pair in ipairs(cookies_of(headers)) do
    if change == "add" or pair[1] ~= name then
      found[#found + 1] = pair[1] .. "=" .. pair[2]
    elseif not done then
      found[#found + 1] = name .. "=" .. value
      done = true
    end
  end
  if change == "add" or not done then found[#found + 1] = name .. "=" .. value end
  headers:remove("cookie")
  if #found > 0 then headers:add("cookie", table.concat(found, "; ")) end
end

local function edit_header(headers, change, name, value)
  value = value:gsub("[%z\1-\31\127]", " ")
  if change == "add" then
    headers:add(name, value)
  else
    headers:remove(name)
    if change == "set" then headers:add(name, value) end
  end
end

-- Replace a body. Each change of bytes also changes the header Content-Length, even one that has been passed on but not
-- sent yet. So only a response whose headers are sent at once may be replaced part by part.
local function replace_body(handle, text, at_once)
  if not at_once then return handle:body(true):setBytes(text) end
  local is_first = true
  for chunk in handle:bodyChunks() do
    chunk:setBytes(is_first and text or "")
    is_first = false
  end
  if is_first and text ~= "" then handle:body(true):setBytes(text) end
end

local BODY_HEADERS = {
  "transfer-encoding", "content-encoding", "content-md5", "digest", "content-digest", "etag", "last-modified",
  "accept-ranges", "content-range"
}

local function remove_all(headers, names)
  for _, name in ipairs(names) do headers:remove(name) end
end

local function is_stream(headers)
  local upgrade = headers:get("upgrade")
  local is_socket = upgrade and upgrade:lower():find("websocket", 1, true) and headers:get(":method") == "GET"
  return is_socket or (headers:get("content-type") or ""):sub(1, 16) == "application/grpc"
end

local function run_for_request(handle, commands)
  local headers, body = handle:headers(), nil
  for _, command in ipairs(commands) do
    local change, target = command[1]:match("^(%l+) (%l+)$")
    local value = value_of(handle, command, target ~= "query")
    if target == "query" then
      edit_query(headers, change, command[2], value)
    elseif target == "cookie" then
      edit_cookie(headers, change, command[2], value)
    elseif target == "header" then
      edit_header(headers, change, command[2], value)
    elseif not is_stream(headers) then
      body = value
    end
  end
  return body
end

-- Write the lines that need no response. Return the other commands, with their parts about the request worked out.
local function prepare(handle, commands, route)
  local kept, may_write, guarded = {}, nil, 0
  for _, command in ipairs(commands) do
    local is_log, waits = command[1] == "log", command[1] ~= "log" or guarded > 0
    if is_log and may_write == nil then
      local missed
      may_write, missed = may_log(route)
      if missed > 0 then
        write(handle, "stderr", line("warn", route, "left out the lines of " .. missed .. " requests"))
      end
    end
    local found = {command[1], command[2]}
    for place = 3, #command do
      local text = known(handle, command[place], true)
      waits = waits or not text
      found[place] = text and "=" .. text or command[place]
    end
    local must_stay = guarded > 0
    if must_stay and is_log and not may_write then found = {"skip", "0"} end
    guarded = math.max(guarded - 1, command[1] == "if" and tonumber(command[2]) or 0)
    if waits and (may_write or not is_log or must_stay) then
      kept[#kept + 1] = found
    elseif may_write then
      write_line(handle, found, route, value_of(handle, found, true))
    end
  end
  return kept
end

function envoy_on_request(handle)
  local metadata = handle:metadata()
  local now, later = metadata:get("request"), metadata:get("response")
  if later then
    local kept, found = prepare(handle, later, metadata:get("route")), handle:streamInfo():dynamicMetadata()
    if #kept > 0 then
      found:set("EDITS", "method", handle:headers():get(":method"))
      found:set("EDITS", "route", metadata:get("route"))
      found:set("EDITS", "at_once", not metadata:get("holds"))
      found:set("EDITS", "response", kept)
    end
  end
  local body = now and run_for_request(handle, now)
  if not body then return end
  remove_all(handle:headers(), BODY_HEADERS)
  handle:headers():replace("content-length", tostring(#body))
  replace_body(handle, body, false)
end

function envoy_on_response(handle)
  local found = handle:streamInfo():dynamicMetadata():get("EDITS")
  if not found or not found.response then return end
  local headers, body, status = handle:headers(), nil, nil
  local fixed = is_stream(headers) or headers:get(":status") == "101"
  local skipped = 0
  for _, command in ipairs(found.response) do
    if skipped > 0 then
      skipped = skipped - 1
      goto next
    end
    local parts = {}
    for place = 3, #command do parts[#parts + 1] = answered(headers, command[place]) end
    local value, kind = table.concat(parts), command[1]
    if kind == "if" then
      if not guard_holds(headers, value) then skipped = tonumber(command[2]) end
    elseif kind == "skip" then
      skipped = tonumber(command[2])
    elseif kind == "log" then
      write_line(handle, command, found.route, value)
    elseif kind == "set status" then
      status = command[2]
      if not fixed then headers:replace(":status", status) end
    elseif kind == "set body" then
      if not fixed then body = value end
    else
      edit_header(headers, kind:match("^%l+"), command[2], value)
    end
    ::next::
  end
  local becomes_empty = status == "204" or status == "304"
  status = headers:get(":status")
  if fixed or not (becomes_empty or (body and status ~= "204" and status ~= "304")) then return end
  remove_all(headers, BODY_HEADERS)
  if becomes_empty then
    headers:remove("content-length")
    return replace_body(handle, "", found.at_once)
  end
  headers:replace("content-length", tostring(#body))
  if not headers:get("content-type") then headers:add("content-type", "text/plain; charset=utf-8") end
  if found.method ~= "HEAD" then replace_body(handle, body, found.at_once) end
end
""".replace('"EDITS"', f'"{EDITS}"')
)


def rule_script() -> Any:
    """Return the filter with the script."""
    source = base_pb2.DataSource(inline_string=_SCRIPT)
    # Requests whose route is not known at first get the default script, others the one that their route names.
    return lua_pb2.Lua(default_source_code=source, source_codes={_ENABLED: source}, clear_route_cache=OFF)


def add_script(route: Any, outcome: Outcome, name: str, upstream: Upstream, *, holds: bool = False) -> None:
    """Let the script run the commands of an outcome for the requests of an Envoy route.

    Args:
        route: the Envoy route.
        outcome: what the rules do.
        name: the name of the backend, for log lines.
        upstream: the target of the backend.
        holds: whether another filter holds the headers of responses.

    """
    if not (outcome.before or outcome.after):
        return
    metadata = route.metadata.filter_metadata[EDITS]
    for key, edits in ((_REQUEST, outcome.before), (_RESPONSE, outcome.after)):
        if edits:
            metadata.update({key: list(_commands(edits, upstream, response=key == _RESPONSE))})
    metadata.update({_ROUTE: name, _HOLDS: holds})
    if any(edit.command == "set body" for edit in outcome.before):
        route.request_body_buffer_limit.value = _LARGEST


def script_settings(rules: Compiled) -> dict[str, Any]:
    """Return the per-route configuration of the filter for a backend; empty if none of its rules need the script.

    It applies to all routes of the backend, because a route that is found first may not be the one that applies.
    """
    return {EDITS: _ON} if any(case.outcome.before or case.outcome.after for case in rules.cases) else {}


_ON: Final = packed(lua_pb2.LuaPerRoute(name=_ENABLED))


def _commands(edits: Iterable[ScriptEdit], upstream: Upstream, *, response: bool) -> Iterable[list[str]]:
    for edit in edits:
        yield [edit.command, edit.name, *script_parts(edit.text, upstream, response=response)]
