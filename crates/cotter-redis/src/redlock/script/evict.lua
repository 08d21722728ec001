-- evict: takes the key from the claim with this id, and from nobody else.
--
-- KEYS  1 lock   2 line   3 alive   4 about   5 gone (of the victim)
-- ARGV  1 id   2 the words that the victim is told   3 for how many ms they are kept
--
-- Answers 1 if it had the key.
local own = 'cotter:' .. ARGV[1] .. ':'
local held = redis.call('get', KEYS[1])
redis.call('set', KEYS[5], ARGV[2], 'px', ARGV[3])
if not held or string.sub(held, 1, #own) ~= own then
  return 0
end
redis.call('del', KEYS[1])
local session = string.match(held, '^%d+:%d+:(%x+):', #own + 1)
if session then
  redis.call('publish', 'cotter:wake:' .. session, 'out:' .. ARGV[1] .. ':' .. ARGV[2])
end
wake(KEYS[1], KEYS[2], KEYS[3], KEYS[4])
return 1
