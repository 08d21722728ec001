-- renew: proves and prolongs claims, and lets in whoever is next where their lines stand still. It is
-- what makes a notification that was lost harmless.
--
-- KEYS  the five of each claim's lock; claims of one lock stand together
-- ARGV  1 lease in ms   2 f(air) or u(nfair)   then for each claim its id, with a letter before it:
--       h if it is known to hold, w if it is thought to wait
--
-- Answers only what is news, as triples: the claim's place in the arguments, a letter, a value.
--   g  it holds now, with this token
--   t  it may try: the lock is unfair, and it is first of those who wait
--   x  it is gone; the words of whoever evicted it, or nil
--   f  it is first in line behind a foreign client, whose hold lasts so many ms (-1: for ever)
local lease, fairness = tonumber(ARGV[1]), ARGV[2]
local news = {}
local function say(index, letter, what)
  news[#news + 1] = index
  news[#news + 1] = letter
  news[#news + 1] = what
end

-- A server whose memory is full refuses what takes more of it, unless the script has written already.
-- What lives must not die of that, so the first thing is to write nothing.
at(1)
redis.call('zrem', A, '')
-- Of the lock that was looked at last: who holds it, and who was told to try.
local settled, held, told
for index = 1, #KEYS / 5 do
  at(index * 5 - 4)
  local thought = string.sub(ARGV[index + 2], 1, 1)
  local id = string.sub(ARGV[index + 2], 2)
  local value = redis.pcall('get', K)
  if type(value) == 'string' and string.sub(value, 1, 39) == 'cotter:' .. id then
    redis.call('pexpire', K, lease)
    if thought == 'w' then
      say(index, 'g', tonumber(string.match(value, '^cotter:%x+:(%d+)')))
    end
  else
    -- It lives, so it must not be taken for dead by what follows.
    local record = redis.call('hget', C, id)
    if record then
      redis.call('zadd', A, now + lease, id)
      if parse(record).token == 0 and not redis.call('zscore', W, id) then
        -- The order was evicted. The last place is better than none.
        stand(id)
      end
      keep(lease)
    end
    if settled ~= K then
      held = settle()
      told = admit(fairness)
      settled = K
    end
    record = redis.call('hget', C, id)
    local token = granted[id] or record and parse(record).token
    if not token then
      say(index, 'x', redis.call('hget', C, 'e:' .. id))
    elseif token > 0 then
      redis.call('pexpire', K, math.max(redis.call('pttl', K), lease))
      if thought == 'w' then
        say(index, 'g', token)
      end
    elseif held == 'foreign' and redis.call('zrange', W, 0, 0)[1] == id then
      say(index, 'f', redis.call('pttl', K))
    elseif told == id then
      say(index, 't', 0)
    end
    if not token then
      sweep()
    end
  end
end
return news
