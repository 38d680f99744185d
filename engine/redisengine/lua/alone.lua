-- Kinds that have a name for themselves: mutexes and elections.

-- warnHead tells the first in line what it waits for, where it may learn it too
-- late by itself: it looks again every third of its TTL.
local function warnHead(life)
  if life >= used / 2 then return end
  local head = redis.call('ZRANGE', WAIT, 0, 0)[1]
  local r = head and redis.call('HGET', CLAIMS, head)
  if not r then return end
  local _, _, ttl, _, _, client = record(r)
  if life < ttl / 2 then tellClient(client, 'h ' .. head .. ' ' .. text(life)) end
end

-- grantAlone gives NAME to a waiter that has proved life ms, and returns what it
-- gave: id, token, life. One that nobody can tell keeps its place, and nil is
-- returned; those in `asking` have their answer in this reply.
local function grantAlone(id, r, life, asking)
  local _, _, ttl, term, version, client, note = record(r)
  if term ~= '0' then life = tonumber(term) else life = math.min(life, ttl) end
  local token = nextToken()
  redis.call('SET', NAME, id .. ':lockstep1:' .. kind .. ':' .. text(token) .. ':' .. version .. ':' .. term .. ':' .. client .. ':' .. note,
    'PX', text(life))
  if not (asking and asking[id]) and not tellGrant(client, id, token, life) then return nil end
  redis.call('HDEL', CLAIMS, id)
  redis.call('ZREM', WAIT, id)
  redis.call('ZREM', LIVE, id)
  changed = true
  return {id = id, token = token, life = life}
end

-- settleAlone gives a free NAME to the first that lives and can be told. It says
-- whether anybody waits then, and what it granted, nil: nothing.
local function settleAlone(asking)
  local passed = 0 -- by, who could not be told
  while true do
    local ids = redis.call('ZRANGE', WAIT, passed, passed + 1)
    local id = ids[1]
    if not id then break end
    local r = redis.call('HGET', CLAIMS, id)
    local proved = lives(id)
    local grant = r and proved > 0 and grantAlone(id, r, proved, asking)
    if grant then
      local more = passed > 0 or #ids > 1
      if more then warnHead(grant.life) end
      return more, grant
    elseif r and proved > 0 then
      passed = passed + 1
    else
      drop(id)
    end
  end
  if passed > 0 then redis.call('DEL', NAME) end -- it was set for each that was tried
  return passed > 0, nil
end

-- isForeign says whether another program has the name.
local function isForeign(value)
  return (type(value) == 'table' or value and not parse(value)) and 1 or 0
end

-- waits is the answer to a claim in line: its place, the ms until what is in its
-- way ends by itself (-1: never, as far as is known), the time, the last token, and
-- whether another program holds the name.
local function waits(id, left, foreign)
  return {'w', redis.call('ZRANK', WAIT, id) or -1, left, now, last, foreign}
end
