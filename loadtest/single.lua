-- One point per POST. 50,000 names per thread: a round of them takes far longer than a request, so
-- two requests for one name are never under way together and cannot overtake each other.
package.path = (os.getenv("LOAD_DIR") or "loadtest") .. "/?.lua;" .. package.path
local load = require("load")
local NAMES = 50000

setup = load.setup
done = load.done

local next_point, heads

function init()
  next_point, heads = load.walker(NAMES), {}
  for i = 1, NAMES do
    heads[i] = '{"metric": "' .. load.name(i) .. '", "value": "' .. i .. '.25", "timestamp": "'
  end
end

local tail = '", "key": "' .. load.key .. '"}'

function request()
  local i, timestamp = next_point()
  return load.request(heads[i] .. timestamp .. tail)
end
