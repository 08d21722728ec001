-- What every script begins with that may give a lock to somebody: the time, and the next token.
local call = redis.call

-- This server's time in microseconds, as text: numbers of this size would be rounded.
local function time()
  local clock = call('time')
  return clock[1] .. string.sub('00000' .. clock[2], -6)
end

-- The counter of tokens is a clock in microseconds that never goes back. While it is kept it rises
-- whatever the machine's clock does; if it is lost, with a server's memory, the machine's clock
-- stands in.
local function next_token(counter, micros)
  local before = call('set', counter, micros, 'get')
  if not before or (tonumber(before) or 0) < tonumber(micros) then
    return micros
  end
  local token = string.format('%.0f', before + 1)
  call('set', counter, token)
  return token
end
