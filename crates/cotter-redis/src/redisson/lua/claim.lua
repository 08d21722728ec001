-- Asks for a lock once. Nothing is left behind where it is not granted, but for a note that
-- somebody waits, where it does.
--
-- KEYS: the lock's name. ARGV: the form (lock, write, read), the owner, the lease in ms, the
-- session, what the holder says of itself, and whether it waits (wait, try).
-- Answers {granted, token}, {busy, how long the holder still has in ms or -1}, {type, the type of a
-- key that is no lock of Redisson's}, or {withdrawn}.

local name = KEYS[1]
local form, owner, lease_ms = ARGV[1], ARGV[2], tonumber(ARGV[3])
local session, about, patience = ARGV[4], ARGV[5], ARGV[6]

-- A claim that comes late, over a connection that has broken, behind its own withdrawal.
if redis.call('EXISTS', withdrawn_key(name, owner)) == 1 then
    return {'withdrawn'}
end
local type = redis.call('TYPE', name)['ok']
if type ~= 'none' and type ~= 'hash' then
    return {'type', type}
end

local holders = holders_key(name)
local field = field_of(form, owner)
local is_again = type == 'hash' and redis.call('HEXISTS', name, field) == 1
local may_enter = is_again or type == 'none'
    or (form == 'read' and redis.call('HGET', name, 'mode') == 'read')
if not may_enter then
    if patience == 'wait' then
        local now = now_ms()
        local record = table.concat({'0', digits(now), form, session, about}, ' ')
        if redis.call('HEXISTS', waiters_key(name), owner) == 0 then
            redis.call('HSET', waiters_key(name), owner, record)
        end
        keep_waiting(name, owner, lease_ms, now)
    end
    return {'busy', redis.call('PTTL', name)}
end
if patience == 'wait' then
    waits_no_more(name, owner)
end

local now = redis.call('TIME')
local token
if is_again then
    -- Sent twice, it is one claim with one token.
    token = string.match(redis.call('HGET', holders, owner) or '', '^(%d+) ')
end
if not token then
    -- The counter of RFencedLock, so that its grants and these rise together. It is at least the
    -- time in microseconds, so that it rises even where the counter was lost. Below 2^53 a number
    -- of Lua's is exact.
    local counter = before('redisson_lock_token', name)
    local last = tonumber(redis.call('GET', counter) or '0')
    local number = math.max(last + 1, tonumber(now[1]) * 1000000 + tonumber(now[2]))
    token = digits(number)
    redis.call('SET', counter, token)
end

if form == 'lock' then
    redis.call('HSET', name, field, 1, 'mode', 'lock')
elseif form == 'write' then
    redis.call('HSET', name, field, 1, 'mode', 'write')
else
    redis.call('HSET', name, field, 1, 'mode', 'read')
    redis.call('SET', alive_key(name, owner, 1), 1, 'PX', lease_ms)
end
last_at_least(name, lease_ms)
local record = table.concat({token, digits(now_ms()), form, session, about}, ' ')
redis.call('HSET', holders, owner, record)
last_at_least(holders, lease_ms)
return {'granted', token}
