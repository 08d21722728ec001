-- Reads what stands at a lock's key, and beside it. It changes nothing.
--
-- KEYS: the lock, its claims in the own layout, the line of a fair lock of Redisson's.
-- Answers the type, the time to live in ms, the value of a string, some fields of a hash and its
-- mode, the type and the time to live of the claims, and the length of the line.

local lock, claims, line = KEYS[1], KEYS[2], KEYS[3]
local type = redis.call('TYPE', lock)['ok']
local value, fields, mode = '', {}, ''
if type == 'string' then
    -- The start of a value tells whose it is; it may be anybody's, and as long as they like.
    value = redis.call('GETRANGE', lock, 0, 511)
elseif type == 'hash' and redis.call('HLEN', lock) <= 1000 then
    fields = redis.call('HKEYS', lock)
    mode = redis.call('HGET', lock, 'mode') or ''
end
local line_length = redis.call('TYPE', line)['ok'] == 'list' and redis.call('LLEN', line) or 0
return {
    type,
    redis.call('PTTL', lock),
    value,
    fields,
    mode,
    redis.call('TYPE', claims)['ok'],
    redis.call('PTTL', claims),
    line_length,
}
