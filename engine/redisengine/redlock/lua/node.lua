-- One name at one node: what the scripts that look at its line have in common.
--
-- KEYS, from `base` on:
--   1 NAME    who has this node's vote, at exactly the name, where redsync looks too:
--             id:redlock1:attempt:count:since:kind:term:version:client:note. Anything
--             else there is another program's.
--   2 COUNT   the votes so far: max(the last + 1, unix seconds * 2^20)
--   3 CLAIMS  id -> "ttl kind version client note", of all who wait here
--   4 WAIT    who waits; the score is the place
--   5 LIVE    who waits; the score is the ms until which they live
--
-- A line is this node's own: nodes may have it in another order. So it grants
-- nothing. It says whom a node tells first that the name is free, and keeps newcomers
-- from passing those who wait.

local NAME, COUNT, CLAIMS, WAIT, LIVE
local now, ms -- the server's time in µs and ms

local function text(n) return string.format('%.0f', n) end

local function open(base)
  NAME, COUNT, CLAIMS, WAIT, LIVE = KEYS[base + 1], KEYS[base + 2], KEYS[base + 3], KEYS[base + 4], KEYS[base + 5]
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
  ms = math.floor(now / 1000)
end

-- nextCount: a count that was lost begins above what it was, as far as the clock
-- moved on. It outlives the clock that it may be ahead of.
local function nextCount()
  local seconds = math.floor(now / 1000000)
  local count = math.max((tonumber(redis.call('GET', COUNT)) or 0) + 1, seconds * 1048576)
  redis.call('SET', COUNT, text(count), 'PX', text(RETENTION_MS + math.max(0, math.ceil(count / 1048576) - seconds) * 1000))
  return count
end

-- parse takes a value of ours apart; nil: it is another program's.
local function parse(value)
  return string.match(value, '^(%w+):redlock1:(%d+):(%d+):(%d+):(%l):(%d+):(%d+):([^:]*):(.*)$')
end

-- newer says whether a value has a layout that this program does not know.
local function newer(value)
  local version = string.match(value, '^%w+:redlock(%d+):')
  return version and version ~= '1'
end

local function mine(value, id)
  return type(value) == 'string' and string.sub(value, 1, #id + 10) == id .. ':redlock1:'
end

-- record takes who waits apart: ttl, kind, version, client, note.
local function record(r)
  return string.match(r, '^(%d+) (%l) (%d+) (%S+) (.*)$')
end

-- lives says for how many ms a waiter has proved that it lives.
local function lives(id)
  return (tonumber(redis.call('ZSCORE', LIVE, id)) or 0) - ms
end

-- drop takes a claim out of the line; it says whether it was there.
local function drop(id)
  redis.call('ZREM', WAIT, id)
  redis.call('ZREM', LIVE, id)
  return redis.call('HDEL', CLAIMS, id) == 1
end

-- sweep drops all whose time is over.
local function sweep()
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', LIVE, '-inf', ms)) do drop(id) end
end

-- enter puts a claim in line: at a place that it had, or at the end. The line's keys
-- live longer than the claim can, so nobody has to sweep names that nobody uses.
local function enter(id, tail, ttl, place)
  local kind, _, version, client, note = string.match(tail, '^(%l):(%d+):(%d+):([^:]*):(.*)$')
  local behind = redis.call('ZREVRANGE', WAIT, 0, 0, 'WITHSCORES')[2]
  redis.call('HSET', CLAIMS, id, ttl .. ' ' .. kind .. ' ' .. version .. ' ' .. client .. ' ' .. note)
  if place == '' then place = text(math.max((tonumber(behind) or 0) + 1, now)) end
  redis.call('ZADD', WAIT, place, id)
  redis.call('ZADD', LIVE, text(ms + ttl), id)
end

-- keep has the line's keys live for one who lives for ttl from now.
local function keep(ttl)
  local life = text(math.max(redis.call('PTTL', CLAIMS), 2 * ttl + 1000))
  redis.call('PEXPIRE', CLAIMS, life)
  redis.call('PEXPIRE', WAIT, life)
  redis.call('PEXPIRE', LIVE, life)
end

-- tell publishes, and says whether anybody heard. Where it may not, nobody did: an
-- error here would leave half a step behind.
local function tell(channel, message)
  local heard = redis.pcall('PUBLISH', channel, message)
  return type(heard) == 'number' and heard > 0
end

local function tellClient(client, message)
  return tell('lockstep:redlock:client:' .. client, message)
end

-- tellFirst tells the first in line that can be told what it waits for: that the
-- name is free, or in how many ms it will be if nobody renews it. Whoever cannot be
-- told keeps its place.
local function tellFirst(left)
  local passed = 0
  while true do
    local id = redis.call('ZRANGE', WAIT, passed, passed)[1]
    if not id then return end
    local r = redis.call('HGET', CLAIMS, id)
    if not r or lives(id) <= 0 then
      drop(id)
    else
      local _, _, _, client = record(r)
      local message = left and 'h ' .. id .. ' ' .. text(left) or 'f ' .. id .. ' ' .. NAME
      if tellClient(client, message) then return end
      passed = passed + 1
    end
  end
end

-- changed tells whoever watches the line.
local function changed() tell('lockstep:redlock:line:' .. NAME, '') end
