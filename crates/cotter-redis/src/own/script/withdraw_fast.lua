-- withdraw: takes a claim back, held or waiting, and lets in whoever is next. This part is the
-- usual cases: it holds the lock alone, and nobody waits; or the first in line wants it alone.
--
-- KEYS  the lock's five
-- ARGV  1 id   2 for how many ms the claim is refused if it comes after this (0: it cannot)
--       3 f(air) or u(nfair)
--
-- Answers 1 if something was there, else 0.
local was_there = 0
local value = redis.pcall('get', KEYS[1])
if type(value) == 'string' and string.sub(value, 1, 39) == 'cotter:' .. ARGV[1] then
  was_there = 1
end
if ARGV[2] == '0' then
  if call('exists', KEYS[2]) == 0 then
    return was_there == 1 and call('del', KEYS[1]) or 0
  end
  local first = was_there == 1 and ARGV[3] == 'f' and call('zrange', KEYS[3], 0, 0)[1]
  local record = first and call('hget', KEYS[2], first) or ''
  local session, about = string.match(record, '^x:%d+:%d+:%d+:0:%d+:(%x+):(.*)$')
  local dies_at = session and call('zscore', KEYS[4], first)
  if dies_at then
    local micros = time()
    local now = string.sub(micros, 1, -4)
    local ms = dies_at - now
    if ms > 0 then
      -- As `admit` does it. What frees memory comes first: a full server refuses a script's first
      -- write if it takes some, and nobody may keep a lock because of that.
      call('hdel', KEYS[2], first)
      call('zrem', KEYS[3], first)
      call('zrem', KEYS[4], first)
      local token = next_token(KEYS[5], micros)
      call('set', KEYS[1], 'cotter:' .. first .. ':' .. token .. ':' .. now .. ':' .. session .. ':'
        .. about, 'px', ms)
      call('publish', 'cotter:wake:' .. session, 'g:' .. first .. ':' .. token)
      return 1
    end
  end
end
if was_there == 1 then
  call('del', KEYS[1])
end

