-- claim: asks one server for its vote.
--
-- KEYS  1 lock   2 counter   3 line   4 alive   5 about   6 gone (of this claim)
-- ARGV  1 id   2 lease in ms   3 <session>:<about>   4 how it waits: empty (it does not, or not yet
--       in line here), or its number in line, or `new`   5 whether it may stand in line here (0, 1)
--
-- The lock is absent, or `cotter:<id>:<number>:<since, ms>:<session>:<about>`, or a foreign value.
--
-- Answers the number that this server has given the claim's key; or, if somebody else has the key,
-- a list: how long it lasts (ms; -1: without end), whose it is, the claim's own number in line.
-- A claim that was withdrawn already is told so: `gone`.
local held = redis.call('get', KEYS[1])
local own = 'cotter:' .. ARGV[1] .. ':'
if held and string.sub(held, 1, #own) == own then
  -- The same claim once more: a request that was thought lost, or the next round.
  redis.call('pexpire', KEYS[1], ARGV[2])
  return tonumber(string.match(held, '^(%d+)', #own + 1))
end
if redis.call('exists', KEYS[6]) == 1 then
  return { 'gone' }
end
local clock = redis.call('time')
if not held then
  local number = redis.call('incr', KEYS[2])
  if number == 1 then
    -- There was no counter, or it was lost with this server's memory. The clock in microseconds is
    -- ahead of every number that was given before: those started at a clock too, and rise by one.
    number = clock[1] * 1000000 + clock[2]
    redis.call('set', KEYS[2], string.format('%.0f', number))
  end
  local since = string.format('%.0f', clock[1] * 1000 + math.floor(clock[2] / 1000))
  redis.call('set', KEYS[1], own .. string.format('%.0f', number) .. ':' .. since .. ':' .. ARGV[3],
    'px', ARGV[2])
  if ARGV[5] == '1' then
    redis.call('zrem', KEYS[3], ARGV[1])
    redis.call('zrem', KEYS[4], ARGV[1])
    redis.call('hdel', KEYS[5], ARGV[1])
  end
  return number
end
local place = ARGV[4]
if place ~= '' then
  place = line_up(KEYS[3], KEYS[4], KEYS[5], ARGV[1], ARGV[2], place, ARGV[3])
end
-- A foreign value may be of any length; its beginning tells whether servers name the same.
local holder = string.match(held, '^cotter:(%x+):') or string.sub(held, 1, 256)
return { redis.call('pttl', KEYS[1]), holder, place }
