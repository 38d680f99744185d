-- Acquire: enter the line of a name, or find the claim where it is.
--
-- KEYS: of the line (line.lua). ARGV: 1 id, 2 ttl in ms, 3 kind, 4 shares,
-- 5 limit, 6 try, 7 term in ms, 8 again, 9 version, 10 client, 11 note.
--
-- Answers: the token, where it was granted for the ttl or the term from now;
-- {'g', token, left} granted, with so many ms left of a term that began before;
-- {'w', place, left, now, last, foreign} it waits (line.lua, waits);
-- {'h', value} held, and not waited for; {'m', kind, limit, why} mismatch.

local id, ttl, asked, term = ARGV[1], ARGV[2], ARGV[3], ARGV[7]

-- The common case is a free name that nobody waits for, shares or watches: its
-- state is a number, or nothing. SET comes first: where memory is full it is
-- refused, and nothing has changed.
if ARGV[8] == '0' and (asked == 'm' or asked == 'e') then
  local state = redis.call('GET', KEYS[2]) or 0
  local before = tonumber(state)
  if before then
    local t = redis.call('TIME')
    local micros = t[1] * 1000000 + t[2]
    local token = math.max(before + 1, micros)
    local digits = string.format('%.0f', token)
    if redis.call('SET', KEYS[1], id .. ':lockstep1:' .. asked .. ':' .. digits .. ':' .. ARGV[9] .. ':' .. term .. ':' .. ARGV[10] .. ':' .. ARGV[11],
      'NX', 'PX', term == '0' and ttl or term) then
      redis.call('SET', KEYS[2], digits, 'PX', string.format('%.0f', RETENTION_MS + math.max(0, math.ceil((token - micros) / 1000))))
      return token
    end
  end
end

--@ line
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
  return leave(tonumber(token))
end
local r = redis.call('HGET', CLAIMS, id)
if r then
  local _, token, _, granted = record(r)
  if token ~= '0' and granted ~= '0' then
    return leave({'g', tonumber(token), redis.call('ZSCORE', LIVE, id) - ms})
  end
  redis.call('ZADD', LIVE, text(ms + ttl), id)
  if token ~= '0' then return leave(tonumber(token)) end
end

-- The first claim of a line rules what it is.
local shares = tonumber(ARGV[4])
local single = alone(asked)
local busy = redis.call('EXISTS', LIVE) == 1
if not r then
  if busy and (kind ~= asked or limit ~= tonumber(ARGV[5])) then return leave({'m', kind, limit, ''}) end
  local holderKind, _
  if value then _, holderKind = parse(value) end
  if holderKind and holderKind ~= asked then return leave({'m', holderKind, 1, ''}) end
  if value and not single and not holderKind then
    return leave({'m', '', 0, 'the key is there and is not ours, so another program uses the name'})
  end
  if not busy then kind, limit, used = asked, tonumber(ARGV[5]), 0 end
end

local asking = {[id] = true}
settle(asking)

local tail = ' ' .. ttl .. ' ' .. term .. ' ' .. ARGV[9] .. ' ' .. ARGV[10] .. ' ' .. ARGV[11]
if not r then
  local free = redis.call('EXISTS', WAIT) == 0
  if single then free = free and redis.call('EXISTS', NAME) == 0 else free = free and used + shares <= limit end
  if free and single then
    local token = nextToken()
    redis.call('SET', NAME, id .. ':lockstep1:' .. asked .. ':' .. text(token) .. ':' .. ARGV[9] .. ':' .. term .. ':' .. ARGV[10] .. ':' .. ARGV[11],
      'PX', term == '0' and ttl or term)
    changed = true
    return leave(token)
  elseif free then
    local token = nextToken()
    redis.call('HSET', CLAIMS, id, ARGV[4] .. ' ' .. text(token) .. tail)
    redis.call('ZADD', LIVE, text(ms + (term == '0' and ttl or term)), id)
    used = used + shares
    changed = true
    return leave(token)
  elseif ARGV[6] == '1' then
    return leave({'h', redis.call('GET', NAME), redis.call('PTTL', NAME), now})
  end
  local behind = redis.call('ZREVRANGE', WAIT, 0, 0, 'WITHSCORES')[2]
  redis.call('HSET', CLAIMS, id, ARGV[4] .. ' 0' .. tail)
  redis.call('ZADD', WAIT, text(math.max((behind or 0) + 1, now)), id)
  redis.call('ZADD', LIVE, text(ms + ttl), id)
  changed = true
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
