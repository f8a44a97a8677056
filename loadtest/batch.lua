-- 450 points per POST, the size that Skyline's documentation gives as the limit. A batch is kept as the
-- pieces between its timestamps, so that a request costs one concatenation.
package.path = (os.getenv("LOAD_DIR") or "loadtest") .. "/?.lua;" .. package.path
local load = require("load")
local POINTS, BATCHES = 450, 200

setup = load.setup
done = load.done

local next_batch, pieces

function init()
  next_batch, pieces = load.walker(BATCHES), {}
  for batch = 1, BATCHES do
    local parts = {}
    for point = 1, POINTS do
      local i = (batch - 1) * POINTS + point
      parts[point] = (point == 1 and '{"key": "' .. load.key .. '", "metrics": [' or '}, ')
        .. '{"metric": "' .. load.name(i) .. '", "value": ' .. point .. '.25, "timestamp": '
    end
    parts[POINTS + 1] = '}]}'
    pieces[batch] = parts
  end
end

function request()
  local batch, timestamp = next_batch()
  return load.request(table.concat(pieces[batch], timestamp))
end
