-- Which of these keys are locks of Redisson's: hashes with a field that is called as its owners
-- are.
--
-- KEYS: names of hashes. Answers 1 or 0 for each. It changes nothing.

local function is_owner(field)
    local uuid = string.match(field, '^([%x%-]+):%d+$')
        or string.match(field, '^([%x%-]+):%d+:write$')
    return uuid ~= nil and #uuid == 36
end

local answer = {}
for number, name in ipairs(KEYS) do
    answer[number] = 0
    -- A lock has as many fields as it has readers; whatever has more is somebody's data.
    if is_hash(name) and redis.call('HLEN', name) <= 10000 then
        for _, field in ipairs(redis.call('HKEYS', name)) do
            if is_owner(field) then
                answer[number] = 1
                break
            end
        end
    end
end
return answer
