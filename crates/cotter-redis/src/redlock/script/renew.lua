-- renew: all claims of a session, holders and waiters.
--
-- KEYS  for each claim: lock, line, alive, about, gone
-- ARGV  1 lease in ms   then for each claim: id, and its number in line (empty: it holds),
--       <session>:<about>
--
-- Answers for each: of a holder 1 if its key is there and was prolonged, 0 if not, or the words of
-- whoever evicted it; of a waiter how long the lock is still held (ms; -1: without end; -2: it is
-- free).
local answers = {}
for at = 1, #KEYS / 5 do
  local lock, line, alive, about, gone =
    KEYS[at * 5 - 4], KEYS[at * 5 - 3], KEYS[at * 5 - 2], KEYS[at * 5 - 1], KEYS[at * 5]
  local id, place, said = ARGV[at * 3 - 1], ARGV[at * 3], ARGV[at * 3 + 1]
  if place == '' then
    local held, own = redis.call('get', lock), 'cotter:' .. id .. ':'
    if held and string.sub(held, 1, #own) == own then
      redis.call('pexpire', lock, ARGV[1])
      answers[at] = 1
    else
      local words = redis.call('get', gone)
      answers[at] = words and words ~= '' and words or 0
    end
  else
    line_up(line, alive, about, id, ARGV[1], place, said)
    answers[at] = redis.call('pttl', lock)
  end
end
return answers
