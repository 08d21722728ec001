-- withdraw: takes a claim back, held or waiting, and lets in whoever is next. This part is the
-- usual case: it holds the lock alone and nobody waits.
--
-- KEYS  the lock's five
-- ARGV  1 id   2 for how many ms the claim is refused if it comes after this (0: it cannot)
--       3 f(air) or u(nfair)
--
-- Answers 1 if something was there, else 0.
local was_there = 0
local value = redis.pcall('get', KEYS[1])
if type(value) == 'string' and string.sub(value, 1, 39) == 'cotter:' .. ARGV[1] then
  redis.call('del', KEYS[1])
  was_there = 1
end
if ARGV[2] == '0' and redis.call('exists', KEYS[2]) == 0 then
  return was_there
end

