-- In a cluster only, before anything else: refuses to begin in a slot that is on its way between two
-- nodes. There a command about a key that is not here fails, also in the middle of a script, and
-- what the script did before stays: a line without the one who was to be let in. Keys that nobody
-- has tell: asked about together, they are an error on both sides of a move and none else.
if type(redis.pcall('exists', KEYS[2] .. ':half', KEYS[2] .. ':moved')) == 'table' then
  return redis.error_reply('TRYAGAIN The slot is on its way between two nodes')
end

