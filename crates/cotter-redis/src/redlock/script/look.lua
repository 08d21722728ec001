-- look: who has this server's key, and who waits here. It changes nothing.
--
-- KEYS  1 lock   2 line   3 alive   4 about
--
-- Answers the key's value (or nothing), how long it lasts, the time (ms); then for each that waits
-- its id, its number in line, and <session>:<about>.
local clock = redis.call('time')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local value = redis.call('get', KEYS[1])
-- A foreign value may be of any length. Ours are shorter.
local answer = { value and string.sub(value, 1, 16384), redis.call('pttl', KEYS[1]), now }
local line = redis.call('zrange', KEYS[2], 0, -1, 'withscores')
for at = 1, #line, 2 do
  local said = redis.call('hget', KEYS[4], line[at])
  if said and tonumber(redis.call('zscore', KEYS[3], line[at]) or 0) >= now then
    table.insert(answer, line[at])
    table.insert(answer, line[at + 1])
    table.insert(answer, said)
  end
end
return answer
