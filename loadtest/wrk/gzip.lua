-- Batches of 450 in gzip. The runner made them ahead, for every timestamp anew; the file has lines of a body's length
-- and then that many bytes, BODIES of them for each timestamp from LOAD_POOL_FROM on.
package.path = os.getenv("LOAD_DIR") .. "/?.lua;" .. package.path
local load = require("load")

setup = load.setup
done = load.done

local next_body, pool, per_timestamp, before

function init()
  local file = assert(io.open(os.getenv("LOAD_POOL"), "rb"))
  per_timestamp, pool = file:read("*n", "*l"), {}
  while true do
    local length = file:read("*n", "*l")
    if not length then break end
    pool[#pool + 1] = load.post("/metric_data_post", file:read(length), "Content-Encoding: gzip\r\n")
  end
  file:close()
  next_body = load.walker(per_timestamp)
  before = load.from - tonumber(os.getenv("LOAD_POOL_FROM"))
end

function request()
  local i, timestamp = next_body()
  local rounds = before + (timestamp - load.from)
  return assert(pool[rounds * per_timestamp + i], "the pool is used up: make it larger")
end
