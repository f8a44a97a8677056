-- As single.lua, and every point is sent twice: each second round repeats the one before.
package.path = os.getenv("LOAD_DIR") .. "/?.lua;" .. package.path
local load = require("load")

setup = load.setup
done = load.done

local next_request

function init()
  next_request = load.singles(50000, 2)
end

function request()
  return next_request()
end
