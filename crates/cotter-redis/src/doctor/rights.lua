-- Tries commands that locks need, so that they change nothing even where they are allowed: on keys
-- that are not there, or with words that are refused after the right was looked at.
--
-- KEYS: the lock, then the keys beside it. ARGV: a channel, then the commands.
-- Answers what is denied, as texts.

local denied = {}

local function try(command, key, ...)
    local answer = redis.pcall(command, key, ...)
    local why = type(answer) == 'table' and answer['err']
    if why and (string.find(why, 'NOPERM', 1, true) or string.find(why, "can't run this", 1, true)
        or string.find(why, "can't access", 1, true)
        or string.find(why, 'no permissions', 1, true)) then
        denied[#denied + 1] = command .. ' ' .. key
    end
end

-- What is not said here takes no more than a key.
local words = {
    GETRANGE = {0, 0},
    -- NX and XX exclude each other.
    SET = {'', 'NX', 'XX'},
    PEXPIRE = {'never'},
    HGET = {'x'},
    -- A field without a value.
    HSET = {'x', 'x', 'x'},
    HDEL = {'x'},
    HEXISTS = {'x'},
    HMGET = {'x'},
    HINCRBY = {'x', 'never'},
    ZADD = {'never', 'x'},
    ZREM = {'x'},
    ZRANGE = {0, 0},
    ZRANGEBYSCORE = {0, 0},
    ZRANK = {'x'},
    ZSCORE = {'x'},
    LINDEX = {0},
    LRANGE = {0, 0},
}

-- Each of the keys may be read and written.
for _, key in ipairs(KEYS) do
    try('EXISTS', key)
    try('SET', key, unpack(words['SET']))
end
-- The commands by themselves, at a key that nobody uses.
local unused = KEYS[#KEYS] .. ':doctor'
for index = 2, #ARGV do
    try(ARGV[index], unused, unpack(words[ARGV[index]] or {}))
end
try('PUBLISH', ARGV[1], '')
local time = redis.pcall('TIME')
if type(time) == 'table' and time['err'] then
    denied[#denied + 1] = 'TIME'
end
return denied
