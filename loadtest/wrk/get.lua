-- One point a GET, as Skyline's Vista sends them.
package.path = os.getenv("LOAD_DIR") .. "/?.lua;" .. package.path
local load = require("load")

setup = load.setup
done = load.done

local next_point, starts

function init()
  next_point, starts = load.walker(50000), {}
  for i = 1, 50000 do
    starts[i] = "GET /metric_data?metric=" .. load.name(i) .. "&value=" .. i .. ".25&key=" .. load.key .. "&timestamp="
  end
end

function request()
  local i, timestamp = next_point()
  return starts[i] .. timestamp .. " HTTP/1.1\r\nHost: load\r\n\r\n"
end
