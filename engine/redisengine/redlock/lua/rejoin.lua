-- Rejoin: a claim that a majority of nodes keeps is taken again here, where nobody
-- has the name. The count never falls.
--
-- KEYS: for each name two, itself and its count. ARGV: for each name five: id, the
-- attempt's number, the token, ms to live, tail (acquire.lua). Answer: how many were
-- taken.

local time = redis.call('TIME')
local since = time[1] .. string.sub('00000' .. time[2], -6, -4)
local taken = 0
for i = 1, #KEYS / 2 do
  local name, counter = KEYS[2 * i - 1], KEYS[2 * i]
  local id, attempt, token, life, tail = unpack(ARGV, 5 * i - 4, 5 * i)
  if redis.call('EXISTS', name) == 0 then
    local count = math.max(tonumber(redis.call('GET', counter)) or 0, tonumber(token))
    local ahead = math.max(0, math.ceil(count / 1048576) - time[1])
    redis.call('SET', counter, string.format('%.0f', count), 'PX', string.format('%.0f', RETENTION_MS + ahead * 1000))
    redis.call('SET', name, id .. ':redlock1:' .. attempt .. ':' .. token .. ':' .. since .. ':' .. tail, 'PX', life)
    redis.pcall('PUBLISH', 'lockstep:redlock:line:' .. name, '')
    taken = taken + 1
  end
end
return taken
