-- The least that gives a lock back: the key goes if it is still this holder's.
-- KEYS: the lock. ARGV: who holds it.
if redis.call('get', KEYS[1]) == ARGV[1] then
  return redis.call('del', KEYS[1])
end
return 0
