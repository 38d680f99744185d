-- Acquire for kinds that share: enter the line, or find the claim where it is.
--
-- KEYS, ARGV and answers: acquire.lua's.

--@ line
--@ shared
local err = open(0)
if err then return err end
sweep()
local id, asked = string.match(ARGV[1], '^(%w+):lockstep1:(%l):$')
local version, term, client, note = string.match(ARGV[2], '^:(%d+):(%d+):([^:]*):(.*)$')
local ttl, shares, most, try = string.match(ARGV[4], '^(%d+) (%d+) (%d+) (%d)$')
shares, most = tonumber(shares), tonumber(most)

local function leave(answer)
  finish()
  return answer
end

local function granted(token)
  return leave({'g', tonumber(token), lives(id)})
end

-- A repeat: the claim is where it was, and it is alive.
local r = redis.call('HGET', CLAIMS, id)
if r then
  local _, token, _, granting = record(r)
  if token == '0' or granting == '0' then
    redis.call('ZADD', LIVE, text(ms + ttl), id)
    keep(tonumber(ttl))
  end
  if token ~= '0' then return granted(token) end
end

if not r and KEYS[6] and redis.call('EXISTS', KEYS[6]) == 1 then return leave({'n'}) end

-- The first claim of a line rules what it is.
if not r then
  if redis.call('EXISTS', LIVE) == 0 then kind, limit, used = asked, most, 0 end
  if kind ~= asked or limit ~= most then return leave({'m', kind, limit, ''}) end
  local value = redis.pcall('GET', NAME)
  if value then
    local _, holds
    if type(value) == 'string' then _, holds = parse(value) end
    if holds then return leave({'m', holds, 1, ''}) end
    return leave({'m', '', 0, 'the key is there and is not ours, so another program uses the name'})
  end
end

settleShared({[id] = true})
if r then
  local _, token = record(redis.call('HGET', CLAIMS, id))
  if token ~= '0' then return granted(token) end
  return leave(waitsShared(id))
end
local free = redis.call('EXISTS', WAIT) == 0 and used + shares <= limit
if not free and try == '1' then return leave({'h'}) end
local token, life = 0, tonumber(ttl)
if free then
  token, life = nextToken(), tonumber(ARGV[3])
  used = used + shares
end
redis.call('HSET', CLAIMS, id, shares .. ' ' .. text(token) .. ' ' .. ttl .. ' ' .. term .. ' ' .. version .. ' ' .. client .. ' ' .. note)
redis.call('ZADD', LIVE, text(ms + life), id)
changed = true
if not free then
  local behind = redis.call('ZREVRANGE', WAIT, 0, 0, 'WITHSCORES')[2]
  redis.call('ZADD', WAIT, text(math.max((behind or 0) + 1, now)), id)
end
keep(life)
if free then return leave({'g', token, life}) end
return leave(waitsShared(id))
