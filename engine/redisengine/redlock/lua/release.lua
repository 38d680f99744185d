-- Release: take a claim off this node, whether it has its vote or waits, and tell
-- the first in line that the name is free.
--
-- KEYS: of the name (node.lua). ARGV: 1 id, 2 the newest attempt that may be meant,
-- 3 why: 0 its owner gives it back, 1 somebody else removes it, 2 its session ends,
-- and leaves what has a term. Answer: whether there was such a claim.
--
-- An attempt that began after the release was sent is not meant: a release may be
-- late.

local id, why = ARGV[1], ARGV[3]
local value = redis.pcall('GET', KEYS[1])
local held = type(value) == 'string' and string.sub(value, 1, #id + 10) == id .. ':redlock1:'
if held and why == '0' and redis.call('EXISTS', KEYS[4]) == 0 then
  if tonumber(string.match(value, ':redlock1:(%d+):')) > tonumber(ARGV[2]) then return 0 end
  redis.call('DEL', KEYS[1])
  redis.pcall('PUBLISH', 'lockstep:redlock:line:' .. KEYS[1], '')
  return 1
end

--@ node
open(0)
sweep()
local removed = 0
local first = redis.call('ZRANGE', WAIT, 0, 0)[1]
if held then
  local _, attempt, _, _, _, term, _, client = parse(value)
  if why == '2' and term ~= '0' then return 0 end
  if why == '1' or tonumber(attempt) <= tonumber(ARGV[2]) then
    redis.call('DEL', NAME)
    removed = 1
    if why == '1' then tellClient(client, 'x ' .. id) end
  end
elseif why == '1' and type(value) == 'string' and 'foreign' .. redis.sha1hex(value) == id then
  redis.call('DEL', NAME)
  removed = 1
end
local r = redis.call('HGET', CLAIMS, id)
if r then
  drop(id)
  local _, _, _, client = record(r)
  if why == '1' then tellClient(client, 'x ' .. id) end
end
local free = removed == 1 or not value
if free and (removed == 1 or first == id) then
  tellFirst()
elseif first == id then
  tellFirst(redis.call('PTTL', NAME))
end
if removed == 1 or r then
  changed()
  return 1
end
return 0
