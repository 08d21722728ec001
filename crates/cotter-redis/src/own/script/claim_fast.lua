-- claim: asks for a lock. This part is the usual case: nobody is there, and one claim wants it all.
--
-- KEYS  the lock's five, as `keys.rs` orders them: lock, claims, line, alive, counter
-- ARGV  1 id   2 lease in ms   3 mode: x(clusive), s(hared), p(ermits)   4 count   5 limit
--       6 patience: w(ait), t(ry), l(ook: one that waits already)   7 f(air) or u(nfair)
--       8 session   9 about, JSON for people
--
-- Answers the token if it is granted, or a list that begins with a word: `queued` (with the place,
-- and whether a foreign client holds the lock, and for how long), `busy`, `differ` (with how others
-- use the name), `withdrawn`, `gone` (one that looks and is not there), `wrong` (a key of another kind
-- has the name).
if ARGV[3] == 'x' and ARGV[6] ~= 'l' and redis.call('exists', KEYS[1], KEYS[2]) == 0 then
  local clock = redis.call('time')
  local micros = string.format('%.0f', clock[1] * 1000000 + clock[2])
  -- The counter is a clock that never goes back: see `next_token` below.
  local before = redis.call('set', KEYS[5], micros, 'get')
  local token = micros
  if before and (tonumber(before) or 0) >= tonumber(micros) then
    token = string.format('%.0f', before + 1)
    redis.call('set', KEYS[5], token)
  end
  redis.call('set', KEYS[1], 'cotter:' .. ARGV[1] .. ':' .. token .. ':'
    .. string.sub(micros, 1, -4) .. ':' .. ARGV[8] .. ':' .. ARGV[9], 'px', ARGV[2])
  return tonumber(token)
end

