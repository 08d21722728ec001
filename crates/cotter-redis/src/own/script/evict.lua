-- evict: takes the lock from the holder with this token, and from nobody else.
--
-- KEYS  the lock's five
-- ARGV  1 token   2 the words that the victim is told   3 for how many ms they are kept
--       4 f(air) or u(nfair)
--
-- Answers an empty list if it is out, or the tokens that hold the lock, which are others.
at(1)
local expected, words = tonumber(ARGV[1]), ARGV[2]
local held, value = settle()
local tokens = {}
local victim, session
if held == 'one' then
  local id, token, of = string.match(value, '^cotter:(%x+):(%d+):%d+:(%x+):')
  if tonumber(token) == expected then
    redis.call('del', K)
    known = 'free'
    victim, session = id, of
  else
    tokens[1] = tonumber(token)
  end
elseif held == 'many' then
  for _, id in ipairs(redis.call('hkeys', C)) do
    local claim = #id == 32 and parse(redis.call('hget', C, id))
    if claim and claim.token == expected then
      drop(id)
      victim, session = id, claim.session
    elseif claim and claim.token > 0 then
      tokens[#tokens + 1] = claim.token
    end
  end
end
if not victim then
  -- A list in which nobody stands says so by a word, as an empty one means something else.
  sweep()
  return #tokens > 0 and tokens or { 0 }
end
local mark = 'e:' .. victim
redis.call('hset', C, mark, words)
redis.call('zadd', A, now + tonumber(ARGV[3]), mark)
keep(tonumber(ARGV[3]))
tell(session, mark .. ':' .. words)
admit(ARGV[4])
return {}
