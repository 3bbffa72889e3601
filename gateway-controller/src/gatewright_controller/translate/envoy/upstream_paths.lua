-- Maps paths in an upstream's answers (Location, Content-Location, the Path of cookies) to those of the API, as far as
-- they lie under the path at which the upstream is asked. What is there already stays: some upstreams know the API's.
--
-- The route says, in its metadata, where the API is (context), where its requests go (base), "" being the root, and what
-- the upstream is called (authority).

local NAMESPACE = "gatewright.upstream_paths"

-- below returns what is left of path under prefix, by whole segments; nil where path lies elsewhere.
local function below(path, prefix)
  if path:sub(1, #prefix) ~= prefix then
    return nil
  end
  local rest = path:sub(#prefix + 1)
  if rest == "" or rest:find("^[/?#]") then
    return rest
  end
  return nil
end

local function map_path(path, route)
  if route.context ~= "" and below(path, route.context) then
    return path
  end
  local rest = below(path, route.base)
  if not rest then
    return path
  end
  -- A path that begins with two slashes would be a host; browsers read a backslash as one.
  return (("/" .. route.context .. rest):gsub("^[/\\]+", "/"))
end

-- without_port leaves out a port that is the scheme's own.
local function without_port(authority)
  return (authority:lower():gsub(":80$", ""):gsub(":443$", ""))
end

-- map_reference maps an absolute path, and an absolute URL of the upstream or of the host that the client has asked for.
-- A relative reference is right as it is.
local function map_reference(reference, route)
  if reference:find("^/[^/]") or reference == "/" then
    return map_path(reference, route)
  end
  local before, authority, path = reference:match("^(%a[%w+.-]*://)([^/?#]*)(.*)$")
  if not before then
    before, authority, path = reference:match("^(//)([^/?#]*)(.*)$")
  end
  if not before then
    return reference
  end
  if not path:find("^/") then
    path = "/" .. path
  end
  if without_port(authority) == without_port(route.authority) then
    return map_path(path, route)
  end
  if route.asked and authority:lower() == route.asked:lower() then
    return before .. authority .. map_path(path, route)
  end
  return reference
end

-- map_cookie_path maps the Path of a cookie. "/" becomes the context without a slash at its end: the path that a client
-- gives to a cookie without Path, so that such a line replaces or expires the cookie (RFC 6265, section 5.1.4).
local function map_cookie_path(path, route)
  local mapped = map_path(path, route)
  if path:find("^/%s*$") and mapped ~= path and route.context ~= "" then
    return (mapped:gsub("/%s*$", ""))
  end
  return mapped
end

-- map_cookie maps the Path of a Set-Cookie line. Cookies named __Host-… have to have "/".
local function map_cookie(line, route)
  if line:find("^%s*__Host%-") then
    return line
  end
  return (line:gsub("(;%s*[Pp][Aa][Tt][Hh]%s*=%s*)(/[^;]*)", function(before, path)
    return before .. map_cookie_path(path, route)
  end))
end

local function map_lines(headers, name, map, route)
  local lines = {}
  for n = 0, headers:getNumValues(name) - 1 do
    lines[#lines + 1] = map(headers:getAtIndex(name, n), route)
  end
  headers:remove(name)
  for _, line in ipairs(lines) do
    headers:add(name, line)
  end
end

function envoy_on_request(handle)
  local asked = handle:headers():get("x-forwarded-host")
  if asked then
    handle:streamInfo():dynamicMetadata():set(NAMESPACE, "asked", asked)
  end
end

function envoy_on_response(handle)
  local headers = handle:headers()
  local location, content, cookie = headers:get("location"), headers:get("content-location"), headers:get("set-cookie")
  if not (location or content or cookie) then
    return
  end
  local metadata = handle:metadata()
  if not metadata:get("base") then
    return
  end
  local route = { context = metadata:get("context"), base = metadata:get("base"), authority = metadata:get("authority") }
  local stored = handle:streamInfo():dynamicMetadata():get(NAMESPACE)
  route.asked = stored and stored["asked"]
  if location then
    headers:replace("location", map_reference(location, route))
  end
  if content then
    headers:replace("content-location", map_reference(content, route))
  end
  if cookie then
    map_lines(headers, "set-cookie", map_cookie, route)
  end
end
