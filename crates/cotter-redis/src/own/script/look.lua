-- look: who holds the lock and who waits. It changes nothing.
--
-- KEYS  the lock's five
--
-- Answers: the time in ms; the beginning of the lock's value (a number if it is no string); for how
-- many ms it lasts; C as a list; W in order; A with its scores.
local clock = redis.call('time')
local value = false
if redis.call('exists', KEYS[1]) == 1 then
  -- Its beginning: anybody may have written anything there, of any length.
  value = redis.pcall('getrange', KEYS[1], 0, 65535)
  if type(value) == 'table' then
    value = 0
  end
end
return {
  math.floor((clock[1] * 1000000 + clock[2]) / 1000), value, redis.call('pttl', KEYS[1]),
  redis.call('hgetall', KEYS[2]), redis.call('zrange', KEYS[3], 0, -1),
  redis.call('zrange', KEYS[4], 0, -1, 'withscores'),
}
