-- hold: prolongs a hold while its slot is on its way between two nodes of a cluster. It is about one
-- key, which is here or there and can be asked about, as a whole line cannot.
--
-- KEYS  the lock
-- ARGV  1 lease in ms   2 id
--
-- Answers 1 if the claim holds the lock alone, else 0, which says nothing.
local value = redis.call('get', KEYS[1])
if value and string.sub(value, 1, 39) == 'cotter:' .. ARGV[2] then
  return redis.call('pexpire', KEYS[1], ARGV[1])
end
return 0
