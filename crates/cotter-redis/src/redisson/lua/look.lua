-- Reads who holds a lock, and who waits for it where that is kept.
--
-- KEYS: the lock's name. Answers the key's type, the server's time in ms, the hash, what cotter's
-- holders say of themselves, and the line of Redisson's fair lock. It changes nothing.

local name = KEYS[1]
local type = redis.call('TYPE', name)['ok']
local now = redis.call('TIME')
return {
    type,
    string.format('%.0f', tonumber(now[1]) * 1000 + math.floor(now[2] / 1000)),
    type == 'hash' and redis.call('HGETALL', name) or {},
    redis.call('HGETALL', holders_key(name)),
    redis.call('LRANGE', before('redisson_lock_queue', name), 0, 9999),
    redis.call('PTTL', name),
}
