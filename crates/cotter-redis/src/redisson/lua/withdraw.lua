-- Takes a claim back.
--
-- KEYS: the lock's name. ARGV: the form, the owner, and for how long the claim is refused if it
-- comes after this, in ms; 0: it cannot.
-- Answers 1 if there was anything, else 0.

local name, form, owner, refused_ms = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3])
if refused_ms > 0 then
    redis.call('SET', withdrawn_key(name, owner), 1, 'PX', refused_ms)
end
local has_waited = waits_no_more(name, owner)
return (give_back(name, form, owner) or has_waited) and 1 or 0
