-- Gives the lock to the first in the line, and tells it its token on the channel of its name.
-- KEYS: the lock, its line, its counter. ARGV: who holds it, the next one's lease in ms.
if redis.call('get', KEYS[1]) ~= ARGV[1] then
  return 0
end
local first = redis.call('lpop', KEYS[2])
if first then
  redis.call('set', KEYS[1], first, 'PX', ARGV[2])
  redis.call('publish', first, redis.call('incr', KEYS[3]))
else
  redis.call('del', KEYS[1])
end
return 1
