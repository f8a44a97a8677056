-- As single.lua, 16 requests at a time on each connection.
package.path = os.getenv("LOAD_DIR") .. "/?.lua;" .. package.path
local load = require("load")

setup = load.setup
done = load.done

local DEPTH = 16
local next_request

function init()
  next_request = load.singles(50000)
end

function request()
  local requests = {}
  for i = 1, DEPTH do requests[i] = next_request() end
  return table.concat(requests)
end
