-- Agents of every kind on the same connections. Of ten requests: four POSTs of a point, three GETs, two of Telegraf
-- (ten numbers of a host) and a batch of 50 points. 7.7 points a request on average.
package.path = os.getenv("LOAD_DIR") .. "/?.lua;" .. package.path
local load = require("load")

setup = load.setup
done = load.done

local HOSTS, BATCH = 5000, 50
local FIELDS = { "usage_guest", "usage_idle", "usage_iowait", "usage_irq", "usage_nice",
  "usage_softirq", "usage_steal", "usage_system", "usage_user", "usage_total" }

local function telegraf(i)
  local fields = {}
  for n, field in ipairs(FIELDS) do fields[n] = '"' .. field .. '": ' .. (i + n) % 100 .. ".5" end
  return '{"metrics": [{"fields": {' .. table.concat(fields, ", ") .. '}, "name": "cpu", "tags": {"cpu": "cpu0", '
    .. '"host": "load.web' .. i .. '"}, "timestamp": ', "}]}"
end

local function batch(i)
  local points = {}
  for n = 1, BATCH do
    points[n] = '{"metric": "load.batch.' .. load.name(i * BATCH + n) .. '", "value": ' .. n .. '.25, "timestamp": '
  end
  return points
end

local next_turn, hosts

-- Each host takes its turn with one request of its own kind.
local makers = {
  p = function(i)
    local path, start, tail = load.single(i)
    return function(timestamp) return load.post(path, start .. timestamp .. tail) end
  end,
  g = function(i)
    local start = "GET /metric_data?metric=load.get." .. i .. "&value=1.25&key=" .. load.key .. "&timestamp="
    return function(timestamp) return start .. timestamp .. " HTTP/1.1\r\nHost: load\r\n\r\n" end
  end,
  t = function(i)
    local start, tail = telegraf(i)
    local key = "telegraf: true\r\nkey: " .. load.key .. "\r\n"
    return function(timestamp) return load.post("/metric_data_post", start .. timestamp .. tail, key) end
  end,
  b = function(i)
    local points = batch(i)
    local start = '{"key": "' .. load.key .. '", "metrics": ['
    return function(timestamp)
      return load.post("/metric_data_post", start .. table.concat(points, timestamp .. "}, ") .. timestamp .. "}]}")
    end
  end,
}
local KINDS = { "p", "g", "p", "t", "p", "g", "b", "p", "g", "t" }

function init()
  next_turn, hosts = load.walker(HOSTS), {}
  for i = 1, HOSTS do hosts[i] = makers[KINDS[i % #KINDS + 1]](i) end
end

function request()
  local i, timestamp = next_turn()
  return hosts[i](timestamp)
end
