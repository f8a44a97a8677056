-- One point a POST. 50,000 names: a round of them takes far longer than a request, so two requests for one name are
-- never under way together and cannot overtake each other.
package.path = os.getenv("LOAD_DIR") .. "/?.lua;" .. package.path
local load = require("load")

setup = load.setup
done = load.done

local next_request

function init()
  next_request = load.singles(50000)
end

function request()
  return next_request()
end
