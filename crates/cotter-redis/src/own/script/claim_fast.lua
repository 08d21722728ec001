-- claim: asks for a lock. This part is the usual cases: nobody is there, and one claim wants it all;
-- or one claim of cotter's has it all, and another that wants it all comes in line behind.
--
-- KEYS  the lock's five, as `keys.rs` orders them: lock, claims, line, alive, counter
-- ARGV  1 id   2 lease in ms   3 three letters: mode x(clusive), s(hared), p(ermits); patience
--       w(ait), t(ry), l(ook: one that waits already); f(air) or u(nfair)   4 <count>:<limit>
--       5 <session>:<about, JSON for people>
-- Few words: each costs the server as much as a tenth of a command.
--
-- Answers the token if it is granted, or a list that begins with a word: `queued` (with the place,
-- and whether a foreign client holds the lock, and for how long; the place is 0 where it does not
-- matter), `busy`, `differ` (with how others use the name), `withdrawn`, `gone` (one that looks and
-- is not there), `wrong` (a key of another kind has the name).
local wants = string.sub(ARGV[3], 1, 2)
if (wants == 'xw' or wants == 'xt') and call('exists', KEYS[1], KEYS[2]) == 0 then
  local micros = time()
  local token = next_token(KEYS[5], micros)
  call('set', KEYS[1], 'cotter:' .. ARGV[1] .. ':' .. token .. ':' .. string.sub(micros, 1, -4) .. ':'
    .. ARGV[5], 'px', ARGV[2])
  return token
end
local value = ARGV[3] == 'xwf' and redis.pcall('get', KEYS[1])
-- With an id: one claim alone. No permits wait behind such a one.
if type(value) == 'string' and string.sub(value, 1, 7) == 'cotter:'
    and string.sub(value, 40, 40) == ':' and string.sub(value, 8, 39) ~= ARGV[1] then
  local before = call('hmget', KEYS[2], ARGV[1], 't:' .. ARGV[1])
  if not before[1] and not before[2] then
    local now = string.sub(time(), 1, -4)
    local last = call('zrange', KEYS[3], -1, -1, 'withscores')[2]
    call('hset', KEYS[2], ARGV[1], 'x:' .. ARGV[4] .. ':' .. ARGV[2] .. ':0:' .. now .. ':' .. ARGV[5])
    call('zadd', KEYS[3], (last or 0) + 1, ARGV[1])
    call('zadd', KEYS[4], now + ARGV[2], ARGV[1])
    -- They expire together, after the last of their claims: so much later that not every claim has
    -- to see to it. What is new has no expiry yet.
    local ms = ARGV[2] + 1000
    if not last or call('pttl', KEYS[2]) < ms or call('pttl', KEYS[4]) < ms then
      for side = 2, 4 do
        call('pexpire', KEYS[side], ms + ARGV[2])
      end
    end
    return { 'queued', 0, 0, 0 }
  end
end

