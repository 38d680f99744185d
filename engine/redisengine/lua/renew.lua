-- Renew mutexes and elections that are held, many at once.
--
-- KEYS: the names. ARGV: 1 ttl in ms, then the ids. Answer: the numbers of those
-- that are not held by their claim, 1 for the first.
--
-- Only PEXPIRE writes: it is not refused where memory is full.

local ttl = ARGV[1]
local gone = {}
for i = 1, #KEYS do
  local id = ARGV[i + 1] .. ':lockstep1:'
  if redis.pcall('GETRANGE', KEYS[i], 0, #id - 1) == id then
    redis.call('PEXPIRE', KEYS[i], ttl)
  else
    gone[#gone + 1] = i
  end
end
return gone
