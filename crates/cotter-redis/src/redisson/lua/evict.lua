-- Takes a lock from the holder with a token, and from nobody else.
--
-- KEYS: the lock's name. ARGV: the token, the words for its holder, and for how long they are kept,
-- in ms.
-- Answers {done}, or {tokens} and those that hold it. A holder of Redisson's is not among them:
-- only one that is fenced has a token, and nothing in the store says whether it is.

local name, expected, words, kept_ms = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3])
local answer = {'tokens'}
local records = redis.call('HGETALL', holders_key(name))
for at = 1, #records, 2 do
    local owner = records[at]
    local token, form, session = string.match(records[at + 1], '^(%d+) %d+ (%a+) (%x+) ')
    if token and is_hash(name) and redis.call('HEXISTS', name, field_of(form, owner)) == 1 then
        if token == expected then
            redis.call('SET', evicted_key(name, owner), words, 'PX', kept_ms)
            give_back(name, form, owner)
            redis.call('PUBLISH', 'cotter:wake:' .. session, owner .. ' ' .. words)
            return {'done'}
        end
        answer[#answer + 1] = token
    end
end
return answer
