-- What all scripts share: the line of one lock.
--
-- The lock (K) is the truth about who holds it:
--   absent                                                    nobody
--   cotter:<id>:<token>:<since, ms>:<session>:<about>         one claim, alone, until it expires
--   cotter:shared, cotter:permits                             those in C that have a token
--   anything else                                             a foreign client
-- C  hash: id -> <mode>:<count>:<limit>:<lease>:<token, 0 while it waits>:<since>:<session>:<about>
--    u, k, l: how much is used by those that share it, as what, and of how much
--    t:<id>: this claim was withdrawn and may still be on its way    e:<id>: evicted, with words
-- W  sorted set: id -> its number in order of arrival, of those that wait
-- A  sorted set: member of C -> until when it lives, by this server's clock. What is dead is removed
--    by whoever comes next; the keys themselves expire after the last of their claims.
-- T  the counter of tokens of the slot
local K, C, W, A, T
-- What `holder` has found and nothing here has changed since.
local known, known_value
local function at(first)
  known = nil
  K, C, W, A, T = KEYS[first], KEYS[first + 1], KEYS[first + 2], KEYS[first + 3], KEYS[first + 4]
end

local micros = time()
local now = math.floor(micros / 1000)

-- Numbers of this size are written in full; `tostring` would round them.
local function text(number)
  return string.format('%.0f', number)
end

local function parse(record)
  local mode, count, limit, lease, token, since, session, about =
    string.match(record, '^(%a):(%d+):(%d+):(%d+):(%d+):(%d+):(%x+):(.*)$')
  return {
    mode = mode, count = tonumber(count), limit = tonumber(limit), lease = tonumber(lease),
    token = tonumber(token), since = tonumber(since), session = session, about = about,
  }
end

local function packed(claim)
  return table.concat({
    claim.mode, claim.count, claim.limit, claim.lease, text(claim.token), text(claim.since),
    claim.session, claim.about,
  }, ':')
end

local function tell(session, message)
  redis.call('publish', 'cotter:wake:' .. session, message)
end

-- Keeps the keys beside the lock for at least so long. They always expire together.
local function keep(ms)
  ms = math.max(ms + 1000, redis.call('pttl', C))
  redis.call('pexpire', C, ms)
  redis.call('pexpire', W, ms)
  redis.call('pexpire', A, ms)
end

local function find_holder()
  local value = redis.pcall('get', K)
  if not value then
    return 'free'
  elseif type(value) == 'table' then
    return 'wrong'
  elseif value == 'cotter:shared' or value == 'cotter:permits' then
    -- A mark without holders was left by those whose records are lost. It stands until it expires.
    return redis.call('hexists', C, 'u') == 1 and 'many' or 'foreign', value
  elseif string.find(value, '^cotter:%x+:%d+:%d+:%x+:') then
    return 'one', value
  end
  return 'foreign', value
end

-- Who holds the lock: free, one, many, foreign, or wrong (no string at all).
local function holder()
  if not known then
    known, known_value = find_holder()
  end
  return known, known_value
end

-- Takes a claim out of C, W and A. If it was the last that shared the lock, the lock is free.
local function drop(id)
  local record = redis.call('hget', C, id)
  if not record then
    return nil
  end
  local claim = parse(record)
  redis.call('hdel', C, id)
  redis.call('zrem', W, id)
  redis.call('zrem', A, id)
  if claim.token > 0 and redis.call('hincrby', C, 'u', -claim.count) <= 0 then
    local held = holder()
    redis.call('hdel', C, 'u', 'k', 'l')
    if held == 'many' then
      redis.call('del', K)
      known = 'free'
    end
  end
  return claim
end

-- Removes what is dead: claims whose deadline has passed, and those that shared a lock which is not
-- theirs any more (somebody deleted the key, or wrote another value).
local function settle()
  for _, member in ipairs(redis.call('zrangebyscore', A, '-inf', now)) do
    if #member ~= 32 or not drop(member) then
      redis.call('hdel', C, member)
      redis.call('zrem', A, member)
      redis.call('zrem', W, member)
    end
  end
  local held, value = holder()
  if held ~= 'many' and redis.call('hexists', C, 'u') == 1 then
    for _, id in ipairs(redis.call('hkeys', C)) do
      if #id == 32 and parse(redis.call('hget', C, id)).token > 0 then
        drop(id)
      end
    end
    redis.call('hdel', C, 'u', 'k', 'l')
  end
  return held, value
end

-- How much is used by those that share the lock, as what, and of how much.
local function shares()
  local many = redis.call('hmget', C, 'u', 'k', 'l')
  return tonumber(many[1] or 0), many[2], tonumber(many[3] or 0)
end

-- Puts a claim at the end of the line. Numbers of arrival only rise while somebody is in it.
local function stand(id)
  local last = redis.call('zrange', W, -1, -1, 'withscores')[2]
  redis.call('zadd', W, (tonumber(last) or 0) + 1, id)
end

local function has_room(claim, used, kind)
  if used == 0 then
    return true
  elseif claim.mode == 's' then
    return kind == 's'
  end
  return claim.mode == 'p' and kind == 'p' and used + claim.count <= claim.limit
end

-- Lets a claim in, for so many ms. It may be in C and W, or have come just now.
local function grant(id, claim, ms)
  claim.token = tonumber(next_token(T, micros))
  claim.since = now
  if claim.mode == 'x' then
    redis.call('hdel', C, id)
    redis.call('zrem', W, id)
    redis.call('zrem', A, id)
    redis.call('set', K, 'cotter:' .. id .. ':' .. text(claim.token) .. ':' .. text(now) .. ':'
      .. claim.session .. ':' .. claim.about, 'px', ms)
    known, known_value = 'one', nil
    return
  end
  local mark = claim.mode == 's' and 'cotter:shared' or 'cotter:permits'
  local ttl = math.max(redis.call('pttl', K), ms)
  redis.call('set', K, mark, 'px', ttl)
  known, known_value = 'many', mark
  redis.call('zrem', W, id)
  redis.call('zadd', A, now + ms, id)
  redis.call('hset', C, id, packed(claim), 'k', claim.mode, 'l', claim.limit)
  redis.call('hincrby', C, 'u', claim.count)
  keep(ms)
end

-- Lets in those at the front of the line for whom there is room, and tells them and nobody else.
-- An unfair lock only tells the first that it may try, and its id is answered. `granted` has the
-- tokens that were given. What has died is not in the line any more (`settle`).
local granted = {}
local function admit(fairness)
  local held = holder()
  if held ~= 'free' and held ~= 'many' then
    return
  end
  local used, kind = shares()
  while true do
    local id = redis.call('zrange', W, 0, 0)[1]
    if not id then
      return
    end
    local record = redis.call('hget', C, id)
    if not record then
      redis.call('zrem', W, id)
      redis.call('zrem', A, id)
    else
      local claim = parse(record)
      if not has_room(claim, used, kind) then
        return
      elseif fairness == 'u' then
        tell(claim.session, 't:' .. id)
        return id
      end
      -- It lives until it would have died waiting, and counts from its last renewal itself. With a
      -- whole lease, several that died waiting would each hold up the line for as long.
      local dies_at = redis.call('zscore', A, id)
      grant(id, claim, dies_at and tonumber(dies_at) - now or claim.lease)
      granted[id] = claim.token
      tell(claim.session, 'g:' .. id .. ':' .. text(claim.token))
      if claim.mode == 'x' then
        return
      end
      used, kind = used + claim.count, claim.mode
    end
  end
end

-- Leaves nothing behind where nobody is: only then is the next claim the usual case.
local function sweep()
  if redis.call('exists', A) == 0 then
    redis.call('del', C, W)
  end
end

