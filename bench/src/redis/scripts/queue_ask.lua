-- Asks for a lock that has a line. Answers the token of a grant, or 0 for a place in the line.
-- KEYS: the lock, its line, its counter. ARGV: who asks, its lease in ms.
if redis.call('exists', KEYS[1], KEYS[2]) == 0 then
  redis.call('set', KEYS[1], ARGV[1], 'PX', ARGV[2])
  return redis.call('incr', KEYS[3])
end
redis.call('rpush', KEYS[2], ARGV[1])
return 0
