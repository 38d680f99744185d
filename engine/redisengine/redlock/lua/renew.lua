-- Renew claims that are held, many at once.
--
-- KEYS: the names. ARGV: for each the id, then the ms to live from now on; 0: it
-- has a term, and is only looked at. Answer: a letter for each: y its claim has this
-- node's vote, n nobody has, o somebody else has.
--
-- Only PEXPIRE writes: it is not refused where memory is full.

local found = {}
for i = 1, #KEYS do
  local id = ARGV[2 * i - 1] .. ':redlock1:'
  local value = redis.pcall('GETRANGE', KEYS[i], 0, #id - 1)
  if value == id then
    if ARGV[2 * i] ~= '0' then redis.call('PEXPIRE', KEYS[i], ARGV[2 * i]) end
    found[i] = 'y'
  elseif value == '' then
    found[i] = 'n'
  else
    found[i] = 'o'
  end
end
return table.concat(found)
