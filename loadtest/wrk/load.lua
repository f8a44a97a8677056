-- What the scripts share: names whose timestamps rise by one second a round, so that every point is a new one, and
-- the summary that the runner reads.
--
-- A point is accepted from an hour ago to a minute ahead, so a name can carry some 3,500 of them. The runner says
-- where to begin and is told where we ended.

local load = {}

load.key = os.getenv("LOAD_KEY")
load.form = os.getenv("LOAD_FORM")
load.from = tonumber(os.getenv("LOAD_FROM"))

local thread

-- wrk runs this once per thread (we have one), in the main state, before the thread's own script state starts.
function load.setup(it)
  thread = it
end

-- Of the kind and length that hosts' agents send; the same in src/generator/body.rs.
function load.name(i)
  return string.format("load.dc%d.web%05d.interface.eth%d.rx", i % 7, math.floor(i / 4), i % 4)
end

-- Walks 1..size for ever and tells the timestamp of each round as text; `repeats` rounds have the same one.
function load.walker(size, repeats)
  local at, round, timestamp = 0, 0, tostring(load.from)
  until_timestamp = load.from
  return function()
    at = at + 1
    if at > size then
      at, round = 1, round + 1
      until_timestamp = load.from + math.floor(round / (repeats or 1))
      timestamp = tostring(until_timestamp)
    end
    return at, timestamp
  end
end

function load.post(path, body, fields)
  return "POST " .. path .. " HTTP/1.1\r\nHost: load\r\nContent-Type: application/json\r\n" .. (fields or "")
    .. "Content-Length: " .. #body .. "\r\n\r\n" .. body
end

-- A request of one point, in the form that the target takes: the parts before and after the timestamp.
function load.single(i)
  local point = '{"metric": "' .. load.name(i) .. '", "value": ' .. i .. '.25, "timestamp": '
  if load.form == "opentsdb" then return "/api/put", "[" .. point, ', "tags": {}}]' end
  return "/metric_data_post", point, ', "key": "' .. load.key .. '"}'
end

-- Requests of one point each, over so many names.
function load.singles(names, repeats)
  local next_point = load.walker(names, repeats)
  local heads, path, tail = {}, nil, nil
  for i = 1, names do path, heads[i], tail = load.single(i) end
  -- A timestamp has ten digits, so a name's requests are all of one length.
  local starts = {}
  for i = 1, names do
    local body = heads[i] .. "0000000000" .. tail
    starts[i] = load.post(path, body):sub(1, -#tail - 11)
  end
  return function()
    local i, timestamp = next_point()
    return starts[i] .. timestamp .. tail
  end
end

function load.done(summary, latency)
  local errors, micros = summary.errors, {}
  for i = 1, #latency do
    local value, count = latency(i)
    micros[i] = string.format("[%d,%d]", value, count)
  end
  io.write(string.format(
    '\nLOAD {"requests":%d,"seconds":%.6f,"refused":%d,"errors":%d,"until":%d,"waited":0,"micros":[%s]}\n',
    summary.requests, summary.duration / 1e6, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout,
    thread:get("until_timestamp"), table.concat(micros, ",")))
end

return load
