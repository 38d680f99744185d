-- Enter the line of a name, or find the claim where it is.
--
-- KEYS: of the line (line.lua). ARGV: 1 "id:lockstep1:kind:", 2
-- ":version:term:client:note", 3 for how many ms a grant lasts, 4 "ttl shares limit
-- try". Answers:
--
--   {'g', token, left}  granted; left: of a term, or of the ttl, in ms
--   {'w', place, left, now, last, foreign}  it waits (line.lua, waits)
--   {'h'}  held, and it is not waited for
--   {'m', kind, limit, why}  mismatch

--@ line
local id, asked = string.match(ARGV[1], '^(%w+):lockstep1:(%l):$')
local version, term, client, note = string.match(ARGV[2], '^:(%d+):(%d+):([^:]*):(.*)$')
local ttl, shares, most, try = string.match(ARGV[4], '^(%d+) (%d+) (%d+) (%d)$')
shares, most = tonumber(shares), tonumber(most)

local err = open(0)
if err then return err end
sweep()

local function leave(answer)
  finish()
  return answer
end

local value = redis.pcall('GET', NAME)
if type(value) == 'table' then
  return leave({'m', '', 0, 'the key holds another type of value (' .. redis.call('TYPE', NAME).ok .. '), so another program uses it'})
end

-- A repeat: the claim is where it was, and it is alive.
if mine(value, id) then
  local _, _, token, _, granted = parse(value)
  if granted ~= '0' then return leave({'g', tonumber(token), redis.call('PTTL', NAME)}) end
  redis.call('PEXPIRE', NAME, ttl)
  return leave({'g', tonumber(token), tonumber(ttl)})
end
local r = redis.call('HGET', CLAIMS, id)
if r then
  local _, token, _, granted = record(r)
  if token ~= '0' and granted ~= '0' then
    return leave({'g', tonumber(token), redis.call('ZSCORE', LIVE, id) - ms})
  end
  redis.call('ZADD', LIVE, text(ms + ttl), id)
  if token ~= '0' then return leave({'g', tonumber(token), tonumber(ttl)}) end
end

-- The first claim of a line rules what it is.
local single = alone(asked)
local busy = redis.call('EXISTS', LIVE) == 1
if not r then
  if busy and (kind ~= asked or limit ~= most) then return leave({'m', kind, limit, ''}) end
  local holderKind, _
  if value then _, holderKind = parse(value) end
  if holderKind and holderKind ~= asked then return leave({'m', holderKind, 1, ''}) end
  if value and not single and not holderKind then
    return leave({'m', '', 0, 'the key is there and is not ours, so another program uses the name'})
  end
  if not busy then kind, limit, used = asked, most, 0 end
end

local asking = {[id] = true}
settle(asking)

if not r then
  local free = redis.call('EXISTS', WAIT) == 0
  if single then free = free and redis.call('EXISTS', NAME) == 0 else free = free and used + shares <= limit end
  if not free and try == '1' then return leave({'h'}) end
  local tail = ' ' .. ttl .. ' ' .. term .. ' ' .. version .. ' ' .. client .. ' ' .. note
  changed = true
  if free then
    local token = nextToken()
    if single then
      redis.call('SET', NAME, ARGV[1] .. text(token) .. ARGV[2], 'PX', ARGV[3])
    else
      redis.call('HSET', CLAIMS, id, shares .. ' ' .. text(token) .. tail)
      redis.call('ZADD', LIVE, text(ms + ARGV[3]), id)
      used = used + shares
    end
    return leave({'g', token, tonumber(ARGV[3])})
  end
  local behind = redis.call('ZREVRANGE', WAIT, 0, 0, 'WITHSCORES')[2]
  redis.call('HSET', CLAIMS, id, shares .. ' 0' .. tail)
  redis.call('ZADD', WAIT, text(math.max((behind or 0) + 1, now)), id)
  redis.call('ZADD', LIVE, text(ms + ttl), id)
  return leave(waits(id))
end

-- It was in line, and may have been let in just now.
value = redis.call('GET', NAME)
if mine(value, id) then
  local _, _, token, _, granted = parse(value)
  return leave({'g', tonumber(token), redis.call('PTTL', NAME)})
end
r = redis.call('HGET', CLAIMS, id)
local _, token, _, granted = record(r)
if token ~= '0' then return leave({'g', tonumber(token), redis.call('ZSCORE', LIVE, id) - ms}) end
return leave(waits(id))
