-- claim, the rest: somebody is there, or was, or the lock is to be shared.
at(1)
local id, lease = ARGV[1], tonumber(ARGV[2])
local mode, patience, fairness = string.match(ARGV[3], '^(.)(.)(.)$')
local count, limit = string.match(ARGV[4], '^(%d+):(%d+)$')
local session, about = string.match(ARGV[5], '^(%x+):(.*)$')
local claim = {
  mode = mode, count = tonumber(count), limit = tonumber(limit), lease = lease,
  token = 0, since = now, session = session, about = about,
}

local held, value = holder()
-- The same claim once more gets the same answer, and lives on.
if held == 'one' and string.sub(value, 8, 39) == id then
  redis.call('pexpire', K, claim.lease)
  return tonumber(string.match(value, '^cotter:%x+:(%d+)'))
end
if held == 'wrong' then
  return { 'wrong' }
end
-- It was withdrawn before it came.
if redis.call('hexists', C, 't:' .. id) == 1 then
  return { 'withdrawn' }
end
local record = redis.call('hget', C, id)
if record then
  redis.call('zadd', A, now + claim.lease, id)
  keep(claim.lease)
end
held = settle()
if fairness == 'f' then
  admit(fairness)
  held = holder()
end
if granted[id] then
  return granted[id]
end
record = redis.call('hget', C, id)
if record and parse(record).token > 0 then
  redis.call('pexpire', K, math.max(redis.call('pttl', K), claim.lease))
  return parse(record).token
end

if not record and patience == 'l' then
  sweep()
  return { 'gone' }
end

local used, kind, used_of = shares()
local first = redis.call('zrange', W, 0, 0)[1]
if not record then
  -- All in one line use the name in one way. Who is there says in which.
  -- A place whose record was evicted says nothing.
  local there = first and redis.call('hget', C, first)
  there = there and parse(there)
  local mode = there and there.mode or used > 0 and kind or held == 'one' and 'x'
  local line_limit = there and there.limit or used_of
  if mode and ((mode == 'p') ~= (claim.mode == 'p') or mode == 'p' and line_limit ~= claim.limit) then
    return { 'differ', mode, line_limit }
  end
end

-- Nobody passes the line, unless the lock is unfair.
local is_open = (held == 'free' or held == 'many') and (not first or fairness == 'u')
if is_open and has_room(claim, used, kind) then
  grant(id, claim, claim.lease)
  if fairness == 'u' and claim.mode ~= 'x' then
    -- There may be room for one more, and only the first was told.
    admit(fairness)
  end
  sweep()
  return claim.token
end
if not record then
  if patience == 't' then
    sweep()
    return { 'busy' }
  end
  redis.call('hset', C, id, packed(claim))
  stand(id)
  redis.call('zadd', A, now + claim.lease, id)
  keep(claim.lease)
end
local is_foreign = held == 'foreign' and 1 or 0
return { 'queued', redis.call('zrank', W, id) + 1, is_foreign, redis.call('pttl', K) }
