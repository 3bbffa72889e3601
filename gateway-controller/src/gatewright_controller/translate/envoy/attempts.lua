-- Makes a request that of one attempt: each attempt goes to another pool, and Envoy makes the request for the first alone.
-- The upstream's authority and base path are in the route's metadata (pools), the engine has said by dynamic metadata what
-- each attempt has for itself (attempts), and changes of earlier attempts are still in the headers.

local STATE, ATTEMPTS, AUTHORITY = "gatewright.attempt", "gatewright.attempts", "gatewright.authority"

-- keep_original keeps, at the first attempt, the path and every header that any attempt changes.
local function keep_original(headers, attempts)
  local original = { path = headers:get(":path"), length = headers:get("content-length"), lines = {} }
  for _, attempt in ipairs(attempts) do
    for _, header in ipairs(attempt.headers) do
      local lines = {}
      for n = 0, headers:getNumValues(header.name) - 1 do
        lines[#lines + 1] = headers:getAtIndex(header.name, n)
      end
      original.lines[#original.lines + 1] = { name = header.name, values = lines }
    end
  end
  return original
end

local function restore(headers, original)
  for _, line in ipairs(original.lines) do
    headers:remove(line.name)
  end
  local restored = {}
  for _, line in ipairs(original.lines) do
    if not restored[line.name] then
      restored[line.name] = true
      for _, value in ipairs(line.values) do
        headers:add(line.name, value)
      end
    end
  end
  if original.length then
    headers:replace("content-length", original.length)
  else
    headers:remove("content-length")
  end
end

local function set_headers(headers, attempt)
  local replaced = {}
  for _, header in ipairs(attempt.headers) do
    if not replaced[header.name] then
      replaced[header.name] = true
      headers:remove(header.name)
    end
    headers:add(header.name, header.value)
  end
end

local function with_query(path, original)
  local query = original:match("%?.*$")
  return query and path .. query or path
end

function envoy_on_request(handle)
  local metadata = handle:streamInfo():dynamicMetadata()
  local told = metadata:get(ATTEMPTS)
  local pools = handle:metadata():get("pools")
  if not (told and pools) then
    return
  end
  local state = metadata:get(STATE)
  local headers, number = handle:headers(), 1
  if state then
    number = state.number + 1
  else
    metadata:set(STATE, "original", keep_original(headers, told.attempts))
    state = metadata:get(STATE)
  end
  metadata:set(STATE, "number", number)
  local attempt = told.attempts[number]
  local pool = pools[attempt.upstream]
  metadata:set(STATE, "upstream", attempt.upstream)
  restore(headers, state.original)
  set_headers(headers, attempt)
  headers:remove("x-envoy-max-retries")
  local chosen = metadata:get(AUTHORITY)
  if not (chosen and chosen.value) and pool.authority ~= "" then
    headers:replace(":authority", pool.authority)
  end
  local path = attempt.path and with_query(attempt.path, state.original.path) or state.original.path
  headers:replace(":path", pool.base .. path)
  if attempt.body then
    local body = handle:body()
    if body then
      local size = body:setBytes(attempt.body)
      handle:headers():replace("content-length", tostring(size))
    end
  end
end

function envoy_on_response(handle)
  local state = handle:streamInfo():dynamicMetadata():get(STATE)
  if state then
    handle:headers():replace("x-gatewright-upstream", state.upstream)
  end
end
