-- Acquire for kinds that have a name for themselves: enter the line, or find the
-- claim where it is.
--
-- KEYS: of the line (line.lua); where the claim has been in line before also 6,
-- which is there if somebody removed it by force. ARGV: 1 "id:lockstep1:kind:", 2
-- ":version:term:client:note", 3 for how many ms a grant lasts, 4 "ttl shares limit
-- try". Answers:
--
--   token, in 16 digits: the name was free
--   {'g', token, left}  granted, and it lasts for so many ms
--   {'w', place, left, now, last, foreign}  it waits (alone.lua, waits)
--   {'h'}  held, and it is not waited for
--   {'n'}  it was removed by force
--   {'m', kind, limit, why}  mismatch
--
-- The common case is a name that nobody holds, waits for, shares or watches: its
-- state is a token, or nothing. Tokens have 16 digits until the year 2286, and a
-- state that is more than a token begins with a letter, so both are compared as
-- text: numbers would take half as long again. SET comes first: where memory is
-- full it is refused, and nothing has changed.

local state = redis.call('GET', KEYS[2])
local time = redis.call('TIME')
local token = time[1] .. string.sub('00000' .. time[2], -6)
if not KEYS[6] and (not state or state < token) and redis.call('SET', KEYS[1], ARGV[1] .. token .. ARGV[2], 'NX', 'PX', ARGV[3]) then
  redis.call('SET', KEYS[2], token, 'PX', 'RETENTION_MS')
  return token
end

--@ line
--@ alone
local err = open(0, state, time)
if err then return err end
local id, asked = string.match(ARGV[1], '^(%w+):lockstep1:(%l):$')
local ttl, _, _, try = string.match(ARGV[4], '^(%d+) (%d+) (%d+) (%d)$')
local value = redis.pcall('GET', NAME)
if type(value) == 'table' then
  return {'m', '', 0, 'the key holds another type of value (' .. redis.call('TYPE', NAME).ok .. '), so another program uses it'}
end

if mine(value, id) then -- a repeat
  local _, _, token, _, term = parse(value)
  if term ~= '0' then return {'g', tonumber(token), redis.call('PTTL', NAME)} end
  redis.call('PEXPIRE', NAME, ttl)
  return {'g', tonumber(token), tonumber(ttl)}
end

local r = kind == asked and redis.call('HGET', CLAIMS, id)
if not r and KEYS[6] and redis.call('EXISTS', KEYS[6]) == 1 then return {'n'} end

-- The first claim of a line rules what it is.
if kind ~= asked and kind ~= '-' then
  sweep()
  if redis.call('EXISTS', LIVE) == 1 then
    finish(true)
    return {'m', kind, limit, ''}
  end
  used = 0
end
if value then
  local _, held = parse(value)
  if held and held ~= asked then return {'m', held, 1, ''} end
end
kind, limit = asked, 1

if r then redis.call('ZADD', LIVE, text(ms + ttl), id) end
local waiting, grant, left = true, nil, -1
if value then
  left = redis.call('PTTL', NAME)
else
  waiting, grant = settleAlone({[id] = true})
  if grant then left = grant.life end
end
if grant and grant.id == id then
  finish(waiting)
  return {'g', grant.token, grant.life}
end
local free = not value and not grant
if not r and free and not waiting then -- only the state was in the way
  redis.call('SET', NAME, ARGV[1] .. text(nextToken()) .. ARGV[2], 'PX', ARGV[3])
  changed = true
  finish(false)
  return {'g', last, tonumber(ARGV[3])}
end
if not r and try == '1' then
  if changed then finish(waiting) end
  return {'h'}
end
if not r then
  local version, term, client, note = string.match(ARGV[2], '^:(%d+):(%d+):([^:]*):(.*)$')
  local behind = redis.call('ZREVRANGE', WAIT, 0, 0, 'WITHSCORES')[2]
  redis.call('HSET', CLAIMS, id, '1 0 ' .. ttl .. ' ' .. term .. ' ' .. version .. ' ' .. client .. ' ' .. note)
  redis.call('ZADD', WAIT, text(math.max((behind or 0) + 1, now)), id)
  redis.call('ZADD', LIVE, text(ms + ttl), id)
  changed = true
end
used = math.max(used, ttl)
keep(tonumber(ttl))
local answer = waits(id, left, isForeign(value))
finish(true)
return answer
