-- leave: takes a claim's key back, for good or only for this round.
--
-- KEYS  1 lock   2 line   3 alive   4 about   5 gone (of this claim)
-- ARGV  1 id   2 what: `round` (it stays in line, and nobody is told: those who met in a split vote
--       try again by themselves), `held` (it was never in line), `all`, `late` (all, and the claim
--       may still be on its way: it is to be refused)   3 lease in ms
--       of a round, if it waits: 4 its number in line, or `new`   5 <session>:<about>
--
-- Answers 1 for the key, plus 2 for a place in line.
local own = 'cotter:' .. ARGV[1] .. ':'
local what, was = ARGV[2], 0
local held = redis.call('get', KEYS[1])
if held and string.sub(held, 1, #own) == own then
  redis.call('del', KEYS[1])
  held, was = false, 1
end
if what == 'round' then
  if ARGV[4] then
    line_up(KEYS[2], KEYS[3], KEYS[4], ARGV[1], ARGV[3], ARGV[4], ARGV[5])
  end
  return was
end
if what ~= 'held' and redis.call('zrem', KEYS[2], ARGV[1]) == 1 then
  redis.call('zrem', KEYS[3], ARGV[1])
  redis.call('hdel', KEYS[4], ARGV[1])
  was = was + 2
end
if what == 'late' then
  redis.call('set', KEYS[5], '', 'px', ARGV[3], 'nx')
end
-- Whoever was told that the lock is free and does not want it passes the word on.
if was > 0 and not held then
  wake(KEYS[1], KEYS[2], KEYS[3], KEYS[4])
end
return was
