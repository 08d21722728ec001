-- The line of one server is a hint: whom to tell that the lock is free. Who is in it and has not
-- renewed in time is dead, and is left out.
local function wake(lock, line, alive, about)
  local first = redis.call('zrange', line, 0, 0)[1]
  if not first then
    return
  end
  local clock = redis.call('time')
  local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
  while first do
    local said = redis.call('hget', about, first)
    local until_ms = tonumber(redis.call('zscore', alive, first) or 0)
    if said and until_ms >= now then
      redis.call('publish', 'cotter:wake:' .. string.match(said, '^(%x+)'),
        'try:' .. first .. ':' .. #lock .. ':' .. lock .. line)
      return
    end
    redis.call('zrem', line, first)
    redis.call('zrem', alive, first)
    redis.call('hdel', about, first)
    first = redis.call('zrange', line, 0, 0)[1]
  end
end

