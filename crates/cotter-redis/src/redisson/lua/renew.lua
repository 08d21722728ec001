-- Prolongs all that a session holds, and says that it goes on waiting.
--
-- KEYS: the locks' names. ARGV: the lease in ms, then for each lock whether it is held (hold,
-- wait), the form and the owner.
-- Answers for each that is gone its number from 1, and the words of its eviction or nothing.

local lease_ms = tonumber(ARGV[1])
local now = now_ms()
local gone = {}
for number, name in ipairs(KEYS) do
    local stage, form, owner = ARGV[3 * number - 1], ARGV[3 * number], ARGV[3 * number + 1]
    if stage == 'wait' then
        -- One that was granted or given up meanwhile is not there any more.
        if redis.call('HEXISTS', waiters_key(name), owner) == 1 then
            keep_waiting(name, owner, lease_ms, now)
        end
    elseif is_hash(name) and redis.call('HEXISTS', name, field_of(form, owner)) == 1 then
        last_at_least(name, lease_ms)
        last_at_least(holders_key(name), lease_ms)
        if form == 'read' then
            redis.call('SET', alive_key(name, owner, 1), 1, 'PX', lease_ms)
        end
    else
        gone[#gone + 1] = number
        gone[#gone + 1] = redis.call('GET', evicted_key(name, owner)) or ''
    end
end
return gone
