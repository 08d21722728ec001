-- Tries what locks need, by commands that change nothing even where they are allowed: on keys that
-- are not there, or with words that are refused after the right was looked at.
--
-- KEYS: the lock, then the keys beside it. ARGV: a channel.
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

for _, key in ipairs(KEYS) do
    try('EXISTS', key)
    try('TYPE', key)
    try('PTTL', key)
    -- NX and XX exclude each other.
    try('SET', key, '', 'NX', 'XX')
    try('PEXPIRE', key, 'never')
end
-- The commands by themselves, at a key that nobody uses.
local unused = KEYS[#KEYS] .. ':doctor'
for _, command in ipairs({'GET', 'DEL', 'HGETALL', 'ZCARD'}) do
    try(command, unused)
end
try('HDEL', unused, 'x')
try('HGET', unused, 'x')
try('HEXISTS', unused, 'x')
try('HLEN', unused)
try('ZREM', unused, 'x')
try('ZRANGE', unused, 0, 0)
try('LINDEX', unused, 0)
try('PUBLISH', ARGV[1], '')
local time = redis.pcall('TIME')
if type(time) == 'table' and time['err'] then
    denied[#denied + 1] = 'TIME'
end
return denied
