-- Sends the requests of a file in turn, and prints what came of it as one line of JSON.
local requests, turn = {}, 0

function init(arguments)
  local file = assert(io.open(arguments[1], "rb"))
  for request in file:read("*a"):gmatch("[^%z]+") do
    requests[#requests + 1] = request
  end
  file:close()
end

function request()
  turn = turn % #requests + 1
  return requests[turn]
end

function done(summary)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  io.write(string.format('{"answered": %d, "failed": %d, "seconds": %.6f}\n',
    summary.requests, failed, summary.duration / 1e6))
end
