-- Replace what others see of a claim.
--
-- KEYS: of the name (node.lua). ARGV: 1 id, 2 version, 3 note. Answer: whether
-- there is such a claim. A version that is not newer changes nothing: the request
-- was late.

--@ node
open(0)
sweep()
local id, version = ARGV[1], tonumber(ARGV[2])
local value = redis.pcall('GET', NAME)
if mine(value, id) then
  local _, attempt, count, since, kind, term, was, client = parse(value)
  if version > tonumber(was) then
    redis.call('SET', NAME, table.concat({id, 'redlock1', attempt, count, since, kind, term, ARGV[2], client, ARGV[3]}, ':'), 'KEEPTTL')
    changed()
  end
  return 1
end
local r = redis.call('HGET', CLAIMS, id)
if not r then return 0 end
local ttl, kind, was, client = record(r)
if version > tonumber(was) then
  redis.call('HSET', CLAIMS, id, ttl .. ' ' .. kind .. ' ' .. ARGV[2] .. ' ' .. client .. ' ' .. ARGV[3])
  changed()
end
return 1
