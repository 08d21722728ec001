-- A register that refuses a token lower than the highest it has seen. Value and token are fields of
-- one hash, so they are changed together, lie in one slot, and are lost together if they are lost.
--
-- KEYS: the register. ARGV: the token, in decimal; and the value to write, or nothing more to
-- announce the token and read.
-- Answers {done, the value or nothing}, {refused, the highest token seen}, or {foreign}: the hash is
-- not a register's.

local register, token, value = KEYS[1], ARGV[1], ARGV[2]

-- Numbers of Lua's are exact to 2^53 only, so tokens are compared as the digits that they are.
local function is_lower(one, other)
    if #one ~= #other then
        return #one < #other
    end
    return one < other
end

local seen = redis.call('HGET', register, 'token')
if seen then
    if not string.match(seen, '^%d+$') then
        return {'foreign'}
    end
    if is_lower(token, seen) then
        return {'refused', seen}
    end
elseif redis.call('EXISTS', register) == 1 then
    return {'foreign'}
end
if seen ~= token then
    redis.call('HSET', register, 'token', token)
end
if value then
    redis.call('HSET', register, 'value', value)
end
-- What was seen must not be forgotten, whoever gave the key a time to live.
redis.call('PERSIST', register)
return {'done', redis.call('HGET', register, 'value')}
