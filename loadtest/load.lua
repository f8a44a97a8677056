-- What single.lua and batch.lua share: a space of metric names whose timestamps rise by one second per
-- round, so that (nearly) every point is new, and a summary line that run.sh reads.
--
-- A point is accepted from an hour ago to a minute ahead, so a name can carry about 3,500 points. The
-- space is large enough that a run of a minute does not get there; if one does, the script stops the run.

local load = {}

-- Leaves a minute of the window for the run's own length.
local BACK_SECONDS = 3500
local ROUNDS_MAX = BACK_SECONDS

load.key = os.getenv("LOAD_KEY") or "abcdefghijklmnopqrstuvwxyz012345"
load.path = "/metric_data_post"
local run = os.getenv("LOAD_RUN") or tostring(os.time())
local first = os.time() - BACK_SECONDS
local threads = 0

-- wrk runs this once per thread, in the main state, before the thread's own script state starts.
function load.setup(thread)
  thread:set("thread_id", threads)
  threads = threads + 1
end

function load.name(i)
  return string.format("load.%s.t%02d.m%06d", run, thread_id or 0, i)
end

-- Walks 1..size for ever and tells the timestamp of each round.
function load.walker(size)
  local at, round = 0, 0
  local timestamp = tostring(first)
  return function()
    at = at + 1
    if at > size then
      at, round = 1, round + 1
      if round >= ROUNDS_MAX then error("the space of names is used up: make it larger") end
      timestamp = tostring(first + round)
    end
    return at, timestamp
  end
end

function load.request(body)
  return "POST " .. load.path .. " HTTP/1.1\r\nHost: flux\r\nContent-Length: " .. #body .. "\r\n\r\n" .. body
end

function load.done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    "LOAD requests=%d seconds=%.3f non2xx=%d socket_errors=%d p50_us=%d p99_us=%d\n",
    summary.requests, summary.duration / 1e6, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50), latency:percentile(99)))
end

return load
