-- raise: the write-back. The claim's token is higher than the number that this server gave its key.
--
-- KEYS  1 lock   2 counter
-- ARGV  1 id   2 token   3 `least` (the key's number is at least the token), or `exact` (the grant
--       has been reported, and this server's vote was not needed: for people who look)
--
-- Answers the number that the key has now: the token, or a higher one if this server has given it
-- one; or nothing, if the key is not the claim's (any more). Then nothing was changed: a counter
-- that rose for a key that is somebody else's would let two claims report one token.
local held = redis.call('get', KEYS[1])
local own = 'cotter:' .. ARGV[1] .. ':'
if not held or string.sub(held, 1, #own) ~= own then
  return false
end
local number, rest = string.match(held, '^(%d+)(.*)$', #own + 1)
if tonumber(number) < tonumber(ARGV[2]) or ARGV[3] == 'exact' then
  number = ARGV[2]
  redis.call('set', KEYS[1], own .. number .. rest, 'keepttl')
end
if tonumber(redis.call('get', KEYS[2]) or 0) < tonumber(number) then
  redis.call('set', KEYS[2], number)
end
return tonumber(number)
