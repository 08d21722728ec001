-- withdraw, the rest: somebody waits, or the claim shares the lock, or waits itself, or is not
-- there and may be on its way.
at(1)
if was_there == 1 then
  known = 'free'
end
local refused_ms = tonumber(ARGV[2])
if was_there == 0 and drop(ARGV[1]) then
  was_there = 1
end
if refused_ms > 0 then
  redis.call('hset', C, 't:' .. ARGV[1], '1')
  redis.call('zadd', A, now + refused_ms, 't:' .. ARGV[1])
  keep(refused_ms)
end
settle()
admit(ARGV[3])
sweep()
return was_there
