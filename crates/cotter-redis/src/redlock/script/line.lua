-- The line of one server: who waits, by when it came; until when each lives; and what each says of
-- itself. It is a hint, and goes by itself when nobody renews.
local function line_up(line, alive, about, id, lease_ms, place, said)
  local clock = redis.call('time')
  if place == 'new' then
    place = string.format('%.0f', clock[1] * 1000000 + clock[2])
  end
  local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
  redis.call('zadd', line, place, id)
  redis.call('zadd', alive, now + tonumber(lease_ms), id)
  redis.call('hset', about, id, said)
  redis.call('pexpire', line, lease_ms * 2)
  redis.call('pexpire', alive, lease_ms * 2)
  redis.call('pexpire', about, lease_ms * 2)
  return place
end

