-- Look at one name at this node, and change nothing.
--
-- KEYS: of the name (node.lua). Answer: now in ms, the value at the name (a foreign
-- one's hash, or its type), whether it is foreign, and of each who waits, in order: id,
-- place, record.

--@ node
open(0)
local value = redis.pcall('GET', NAME)
local foreign = 0
if type(value) == 'table' then
  value, foreign = redis.call('TYPE', NAME).ok, 1
elseif value and newer(value) then
  return redis.error_reply('LAYOUT ' .. string.match(value, '^%w+:(redlock%d+):'))
elseif value and not parse(value) then
  value, foreign = redis.sha1hex(value), 1
end
local line = {}
local all = redis.call('ZRANGE', WAIT, 0, -1, 'WITHSCORES')
for i = 1, #all, 2 do
  local r = lives(all[i]) > 0 and redis.call('HGET', CLAIMS, all[i])
  if r then
    line[#line + 1] = all[i]
    line[#line + 1] = all[i + 1]
    line[#line + 1] = r
  end
end
return {ms, value or '', foreign, line}
