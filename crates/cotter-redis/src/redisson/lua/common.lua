-- What all scripts of this dialect share: the names that belong to a lock, and giving it back.
--
-- A lock of Redisson's is a hash under the lock's name, with a field for each owner and its count.
--   RLock            <owner> -> count
--   RReadWriteLock   mode -> read | write, <owner> -> count, <owner>:write -> count
-- A lock of cotter's that is no read/write lock has the field mode -> lock besides, which
-- Redisson's RLock does not look at, and which its RReadWriteLock waits for like for anybody else's
-- mode.
-- cotter's owners are claims, each with an id of its own, so their counts are always 1.

local function before(prefix, name)
    if string.find(name, '{', 1, true) then
        return prefix .. ':' .. name
    end
    return prefix .. ':{' .. name .. '}'
end

local function behind(name, suffix)
    if string.find(name, '{', 1, true) then
        return name .. ':' .. suffix
    end
    return '{' .. name .. '}:' .. suffix
end

-- The key that says that a reader is alive. A reader that had none would be taken for dead by the
-- next one of Redisson's that gives its lock back.
local function alive_key(name, owner, count)
    return behind(name, owner .. ':rwlock_timeout:' .. count)
end

local function holders_key(name)
    return before('cotter:holders', name)
end

local function withdrawn_key(name, owner)
    return before('cotter:withdrawn', name) .. ':' .. owner
end

local function evicted_key(name, owner)
    return before('cotter:evicted', name) .. ':' .. owner
end

-- Who of cotter's waits is kept for people who look: until when each is taken to live, and what
-- it says of itself. Nothing is decided by it.
local function waiting_key(name)
    return before('cotter:waiting', name)
end

local function waiters_key(name)
    return before('cotter:waiters', name)
end

local function now_ms()
    local now = redis.call('TIME')
    return tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000)
end

-- A number as Redis takes it: Lua writes large ones with an exponent.
local function digits(number)
    return string.format('%.0f', number)
end

-- The field that a claim in this form has.
local function field_of(form, owner)
    if form == 'write' then
        return owner .. ':write'
    end
    return owner
end

local function is_hash(name)
    return redis.call('TYPE', name)['ok'] == 'hash'
end

-- Never shortens: somebody else's time may be longer.
local function last_at_least(key, ms)
    if redis.call('PTTL', key) < ms then
        redis.call('PEXPIRE', key, ms)
    end
end

-- Whoever waits is taken to do so for another lease; those who are not heard of any more are taken
-- out, some at a time.
local function keep_waiting(name, owner, lease_ms, now)
    local waiting, waiters = waiting_key(name), waiters_key(name)
    redis.call('ZADD', waiting, digits(now + lease_ms), owner)
    local over = digits(now)
    for _, dead in ipairs(redis.call('ZRANGEBYSCORE', waiting, '-inf', over, 'LIMIT', 0, 64)) do
        redis.call('ZREM', waiting, dead)
        redis.call('HDEL', waiters, dead)
    end
    last_at_least(waiting, lease_ms)
    last_at_least(waiters, lease_ms)
end

local function waits_no_more(name, owner)
    redis.call('HDEL', waiters_key(name), owner)
    return redis.call('ZREM', waiting_key(name), owner) == 1
end

-- Tells those who wait that the lock is free. Those of RLock and of RReadWriteLock listen to
-- channels of their own; 0 lets one waiter of each Redisson go on, 1 all that stand there already.
-- One that is just about to is missed by 1 and would wait until the end of the lease, so 0 follows.
-- The first in the line of a fair lock listens to itself alone.
local function announce(name, form)
    local channel = before('redisson_lock__channel', name)
    redis.call('PUBLISH', channel, '0')
    if form ~= 'read' then
        redis.call('PUBLISH', before('redisson_rwlock', name), '1')
    end
    redis.call('PUBLISH', before('redisson_rwlock', name), '0')
    local first = redis.call('LINDEX', before('redisson_lock_queue', name), 0)
    if first then
        redis.call('PUBLISH', channel .. ':' .. first, '0')
    end
end

-- How long the longest living of the readers still has. They may be Redisson's, with counts.
local function readers_left_ms(name)
    local longest = 0
    local fields = redis.call('HGETALL', name)
    for at = 1, #fields, 2 do
        if fields[at] ~= 'mode' then
            for count = 1, math.min(tonumber(fields[at + 1]) or 0, 1000) do
                local left = redis.call('PTTL', alive_key(name, fields[at], count))
                longest = math.max(longest, left)
            end
        end
    end
    return longest
end

-- Gives back what an owner has in this form. Says whether it had anything.
local function give_back(name, form, owner)
    redis.call('HDEL', holders_key(name), owner)
    if form == 'read' then
        redis.call('DEL', alive_key(name, owner, 1))
    end
    if not is_hash(name) or redis.call('HDEL', name, field_of(form, owner)) == 0 then
        return false
    end
    if form == 'lock' and redis.call('HGET', name, 'mode') == 'lock' then
        redis.call('HDEL', name, 'mode')
    end
    local others = redis.call('HLEN', name) - redis.call('HEXISTS', name, 'mode')
    if others == 0 then
        redis.call('DEL', name)
        announce(name, form)
    elseif form == 'read' then
        -- The readers that stay keep it as long as the longest living of them.
        local left = readers_left_ms(name)
        if left > 0 then
            redis.call('PEXPIRE', name, left)
        elseif redis.call('HGET', name, 'mode') == 'read' then
            redis.call('DEL', name)
            announce(name, form)
        end
    end
    return true
end
