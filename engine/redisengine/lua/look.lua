-- Look at a line, and change nothing but that somebody watches it.
--
-- KEYS: of the line (line.lua). ARGV: 1 for how many ms it is watched from now, 0:
-- it is not. Answer: now, the value at NAME or its type, the ms that are left of
-- it, kind, limit, who waits in order, and of all in claims id, record and
-- deadline.

--@ line
local err = open(0)
if err then return err end
if ARGV[1] ~= '0' then
  watched = math.max(watched, ms + ARGV[1])
  finish()
end
local value = redis.pcall('GET', NAME)
local foreign = 0
if type(value) == 'table' then
  value, foreign = redis.call('TYPE', NAME).ok, 1
elseif value and not parse(value) then
  value, foreign = redis.sha1hex(value), 1
end
local claims = {}
local live = redis.call('ZRANGE', LIVE, 0, -1, 'WITHSCORES')
for i = 1, #live, 2 do
  if tonumber(live[i + 1]) > ms then
    claims[#claims + 1] = live[i]
    claims[#claims + 1] = redis.call('HGET', CLAIMS, live[i]) or ''
    claims[#claims + 1] = tonumber(live[i + 1]) - ms
  end
end
return {now, value or '', foreign, redis.call('PTTL', NAME), kind, limit, redis.call('ZRANGE', WAIT, 0, -1, 'WITHSCORES'), claims}
