-- Acquire for kinds that have a name for themselves: first as if the name were
-- free, then as lua/enter.lua.
--
-- KEYS: of the line (line.lua). ARGV: 1 "id:lockstep1:kind:", 2
-- ":version:term:client:note", 3 for how many ms, 4 the rest (enter.lua). Answer:
-- the token, in 16 digits, where the name was free; else enter.lua's.
--
-- The common case is a name that nobody holds, waits for, shares or watches: its
-- state is a token, or nothing. Tokens have 16 digits until the year 2286, and a
-- state that is more than a token begins with a letter, so both are compared as
-- text: numbers would take half as long again. SET comes first: where memory is
-- full it is refused, and nothing has changed.

local state = redis.call('GET', KEYS[2])
local time = redis.call('TIME')
local token = time[1] .. string.sub('00000' .. time[2], -6)
if (not state or state < token) and redis.call('SET', KEYS[1], ARGV[1] .. token .. ARGV[2], 'NX', 'PX', ARGV[3]) then
  redis.call('SET', KEYS[2], token, 'PX', 'RETENTION_MS')
  return token
end

--@ enter
