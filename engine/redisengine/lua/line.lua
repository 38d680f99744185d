-- The line of one name: what every script that is not the fast path works on.
--
-- KEYS, from `base` on:
--   1 NAME    a mutex' or an election's holder, at exactly the name:
--             id:lockstep1:kind:token:version:term:client:note. Anything else
--             there is another program's.
--   2 state   the last token alone; or, while somebody waits, shares or watches,
--             "v1 token kind limit used watched": shares granted, ms until which
--             somebody watches.
--   3 claims  id -> "shares token ttl term version client note", of all who wait
--             and, for kinds that share, of the holders (token > 0)
--   4 wait    who waits; the score is the place
--   5 live    who is in claims; the score is the ms until which they live
--
-- A step is: open (which drops the dead), change, settle (which lets in whoever
-- may now), finish. NAME is not in claims: it ends by its own PX.
--
-- Numbers are written with %.0f: Lua's own way keeps 14 digits, and made one
-- token of two.

local RETENTION = RETENTION_MS
local NAME, STATE, CLAIMS, WAIT, LIVE
local now, ms                           -- the server's time in µs and ms
local last, kind, limit, used, watched  -- the state
local changed                           -- watchers are to be told

local function text(n) return string.format('%.0f', n) end

-- open reads the state, and drops claims whose time is over.
local function open(base)
  NAME, STATE, CLAIMS, WAIT, LIVE = KEYS[base + 1], KEYS[base + 2], KEYS[base + 3], KEYS[base + 4], KEYS[base + 5]
  local t = redis.call('TIME')
  now = t[1] * 1000000 + t[2]
  ms = math.floor(now / 1000)
  last, kind, limit, used, watched, changed = 0, '-', 0, 0, 0, false
  local state = redis.call('GET', STATE)
  if state and tonumber(state) then
    last = tonumber(state)
  elseif state then
    local version, l, k, m, u, w = string.match(state, '^(v%d+) (%d+) (%S) (%d+) (%d+) (%d+)$')
    if version ~= 'v1' then
      return redis.error_reply('LAYOUT ' .. string.sub(state, 1, 16))
    end
    last, kind, limit, used, watched = tonumber(l), k, tonumber(m), tonumber(u), tonumber(w)
  end
end

-- mine says whether the value at NAME is this claim's.
local function mine(value, id)
  return type(value) == 'string' and string.sub(value, 1, #id + 11) == id .. ':lockstep1:'
end

-- parse takes a value of ours apart; nil: it is another program's.
local function parse(value)
  return string.match(value, '^(%w+):lockstep1:(%l):(%d+):(%d+):(%d+):([^:]*):(.*)$')
end

-- record takes a claim in line apart: shares, token, ttl, term, version, client, note.
local function record(r)
  return string.match(r, '^(%d+) (%d+) (%d+) (%d+) (%d+) (%S+) (.*)$')
end

local function nextToken()
  last = math.max(last + 1, now)
  return last
end

-- drop takes a claim out of the line; it says whether it was there.
local function drop(id)
  local r = redis.call('HGET', CLAIMS, id)
  redis.call('ZREM', WAIT, id)
  redis.call('ZREM', LIVE, id)
  if not r then return false end
  redis.call('HDEL', CLAIMS, id)
  local shares, token = record(r)
  if token ~= '0' then used = math.max(used - shares, 0) end
  changed = true
  return true
end

-- sweep drops whose time is over.
local function sweep()
  local dead = redis.call('ZRANGEBYSCORE', LIVE, '-inf', ms)
  for _, id in ipairs(dead) do drop(id) end
end

-- tell publishes, and says whether anybody heard. Where it may not, nobody did:
-- an error here would leave half a step behind.
local function tell(channel, message)
  local heard = redis.pcall('PUBLISH', channel, message)
  return type(heard) == 'number' and heard > 0
end

local function tellClient(client, message)
  return tell('lockstep:client:' .. client, message)
end

-- lifeLeft is for how long a waiter has proven that it lives: no grant lasts
-- longer than its claimant's proof.
local function lifeLeft(id, ttl, term)
  if term > 0 then return term end
  local deadline = tonumber(redis.call('ZSCORE', LIVE, id) or 0)
  return math.min(deadline - ms, ttl)
end

-- grantAlone gives NAME to a waiter. One that nobody can tell keeps its place,
-- and false is returned; those in `asking` have their answer in this reply.
local function grantAlone(id, r, asking)
  local shares, _, ttl, term, version, client, note = record(r)
  local life = lifeLeft(id, tonumber(ttl), tonumber(term))
  if life <= 0 then return false end
  local token = nextToken()
  local value = id .. ':lockstep1:' .. kind .. ':' .. text(token) .. ':' .. version .. ':' .. term .. ':' .. client .. ':' .. note
  redis.call('SET', NAME, value, 'PX', text(life))
  if not (asking and asking[id]) and
    not tellClient(client, 'g ' .. id .. ' ' .. text(token) .. ' ' .. text(now) .. ' ' .. text(life)) then
    return false
  end
  redis.call('HDEL', CLAIMS, id)
  redis.call('ZREM', WAIT, id)
  redis.call('ZREM', LIVE, id)
  changed = true
  return true
end

-- warnHead tells the first in line what it waits for where it may learn it too
-- late by itself: it looks again every third of its TTL.
local function warnHead(life)
  local head = redis.call('ZRANGE', WAIT, 0, 0)[1]
  local r = head and redis.call('HGET', CLAIMS, head)
  if not r then return end
  local _, _, ttl, _, _, client = record(r)
  if life < ttl / 2 then tellClient(client, 'h ' .. head .. ' ' .. text(life)) end
end

-- settleAlone gives a free NAME to the first that lives and can be told.
local function settleAlone(asking)
  if redis.call('EXISTS', NAME) == 1 then return end
  local from, granted = 0, false
  while not granted do
    local ids = redis.call('ZRANGE', WAIT, from, from + 15)
    if #ids == 0 then break end
    for _, id in ipairs(ids) do
      local r = redis.call('HGET', CLAIMS, id)
      if not r then
        drop(id)
        from = from - 1
      elseif grantAlone(id, r, asking) then
        granted = true
        break
      end
    end
    from = from + #ids
  end
  if granted then
    warnHead(redis.call('PTTL', NAME))
  else
    redis.call('DEL', NAME)
  end
end

-- settleShared lets in whoever fits, in order: who does not fit keeps all behind
-- it waiting. Who cannot be told keeps its place, and the next is asked.
local function settleShared(asking)
  local from = 0
  while true do
    local ids = redis.call('ZRANGE', WAIT, from, from + 15)
    if #ids == 0 then return end
    for _, id in ipairs(ids) do
      local r = redis.call('HGET', CLAIMS, id)
      if not r then
        drop(id)
      else
        local shares, _, ttl, term, version, client, note = record(r)
        if used + shares > limit then return end
        local life = lifeLeft(id, tonumber(ttl), tonumber(term))
        local token = nextToken()
        redis.call('HSET', CLAIMS, id, shares .. ' ' .. text(token) .. ' ' .. ttl .. ' ' .. term .. ' ' .. version .. ' ' .. client .. ' ' .. note)
        if asking and asking[id] or
          tellClient(client, 'g ' .. id .. ' ' .. text(token) .. ' ' .. text(now) .. ' ' .. text(life)) then
          redis.call('ZREM', WAIT, id)
          if tonumber(term) > 0 then redis.call('ZADD', LIVE, ms + term, id) end
          used = used + shares
          changed = true
        else
          redis.call('HSET', CLAIMS, id, r)
          from = from + 1
        end
      end
    end
  end
end

local function alone(k) return k == 'm' or k == 'e' end

-- settle repairs the line: nobody waits for what is free.
local function settle(asking)
  if kind == '-' or redis.call('EXISTS', WAIT) == 0 then return end
  if alone(kind) then settleAlone(asking) else settleShared(asking) end
end

-- finish writes the state, and has every key of the line end with the last that
-- may need it: nobody has to sweep names that nobody uses any more.
local function finish()
  local newest = redis.call('ZREVRANGE', LIVE, 0, 0, 'WITHSCORES')
  local keep = RETENTION + math.max(0, math.ceil((last - now) / 1000))
  local busy = #newest > 0
  if busy then
    local life = math.max(newest[2] - ms, 0) + 1000
    redis.call('PEXPIRE', CLAIMS, text(life))
    redis.call('PEXPIRE', WAIT, text(life))
    redis.call('PEXPIRE', LIVE, text(life))
    keep = math.max(keep, life)
  end
  if busy or watched > ms then
    if not busy then kind, limit, used = '-', 0, 0 end
    redis.call('SET', STATE, 'v1 ' .. text(last) .. ' ' .. kind .. ' ' .. text(limit) .. ' ' .. text(used) .. ' ' .. text(watched), 'PX', text(keep))
  elseif last > 0 then
    redis.call('SET', STATE, text(last), 'PX', text(keep))
  else
    redis.call('DEL', STATE)
  end
  if changed and watched > ms then tell('lockstep:line:' .. NAME, '') end
end

-- waits is the answer to a claim in line: its place, the ms until what is in its
-- way ends by itself (-1: never, as far as is known), the time, the last token,
-- and whether another program holds the name.
local function waits(id)
  local left, foreign = -1, 0
  if alone(kind) then
    left = redis.call('PTTL', NAME)
    local value = redis.pcall('GET', NAME)
    if value and (type(value) ~= 'string' or not parse(value)) then foreign = 1 end
  else
    local first = redis.call('ZRANGE', LIVE, 0, 0, 'WITHSCORES')
    if #first > 0 then left = math.max(first[2] - ms, 0) end
  end
  return {'w', redis.call('ZRANK', WAIT, id) or -1, left, now, last, foreign}
end
