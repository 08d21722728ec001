-- Reads who holds a lock, and who waits for it where that is kept.
--
-- KEYS: the lock's name. Answers the key's type, the server's time in ms, the hash, what cotter's
-- holders say of themselves, the line of Redisson's fair lock, and cotter's waiters with what they
-- say of themselves. It changes nothing.

local name = KEYS[1]
local type = redis.call('TYPE', name)['ok']
local now = digits(now_ms())
local waiters = {}
for _, owner in ipairs(redis.call('ZRANGEBYSCORE', waiting_key(name), now, '+inf')) do
    waiters[#waiters + 1] = owner
    waiters[#waiters + 1] = redis.call('HGET', waiters_key(name), owner) or ''
end
return {
    type,
    now,
    type == 'hash' and redis.call('HGETALL', name) or {},
    redis.call('HGETALL', holders_key(name)),
    redis.call('LRANGE', before('redisson_lock_queue', name), 0, 9999),
    waiters,
}
