-- The line of one name: what the scripts that look at it have in common.
--
-- KEYS, from `base` on:
--   1 NAME    a mutex' or an election's holder, at exactly the name:
--             id:lockstep1:kind:token:version:term:client:note. Anything else
--             there is another program's.
--   2 state   the last token alone; or, while somebody waits, shares or watches,
--             "v1 token kind limit used watched". used: the shares that are
--             granted, where kinds share, else the longest ttl of those who wait;
--             watched: ms until which somebody watches.
--   3 claims  id -> "shares token ttl term version client note", of all who wait
--             and, for kinds that share, of the holders (token > 0)
--   4 wait    who waits; the score is the place
--   5 live    who is in claims; the score is the ms until which they live
--
-- A step is: open, change, settle (which lets in whoever may now: alone.lua and
-- shared.lua), finish. NAME is not in claims: it ends by its own PX.
--
-- Whose time is given anew is not looked at again in the same script: there keys
-- expire by the time at which the script began, but PX and PEXPIRE count from the
-- real one. After a step back in between, what was just set looks expired, and a
-- look at it deletes it, though a waiter has been told that it is granted. So what
-- was set is passed on by hand, and finish comes last.
--
-- Numbers are written with %.0f: Lua's own way keeps 14 digits, and made one
-- token of two. Each call of redis costs half a microsecond, in which the server
-- does nothing else: the way of a hand-over asks for nothing twice.

local NAME, STATE, CLAIMS, WAIT, LIVE
local now, ms                           -- the server's time in µs and ms
local last, kind, limit, used, watched  -- the state
local changed                           -- watchers are to be told
local kept                              -- ms for which the line's keys must live at least

local function text(n) return string.format('%.0f', n) end

-- open reads the state and the time, unless the caller has them; false: no state.
local function open(base, state, time)
  NAME, STATE, CLAIMS, WAIT, LIVE = KEYS[base + 1], KEYS[base + 2], KEYS[base + 3], KEYS[base + 4], KEYS[base + 5]
  if state == nil then state = redis.call('GET', STATE) end
  time = time or redis.call('TIME')
  now = time[1] * 1000000 + time[2]
  ms = math.floor(now / 1000)
  last, kind, limit, used, watched, changed, kept = 0, '-', 0, 0, 0, false, 0
  if not state then return end
  if string.sub(state, 1, 1) ~= 'v' then
    last = tonumber(state)
    return
  end
  local version, l, k, m, u, w = string.match(state, '^(v%d+) (%d+) (%S) (%d+) (%d+) (%d+)$')
  if version ~= 'v1' then
    return redis.error_reply('LAYOUT ' .. string.sub(state, 1, 16))
  end
  last, kind, limit, used, watched = tonumber(l), k, tonumber(m), tonumber(u), tonumber(w)
end

local function alone(k) return k == 'm' or k == 'e' end

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

-- sweep drops all whose time is over.
local function sweep()
  local dead = redis.call('ZRANGEBYSCORE', LIVE, '-inf', ms)
  for _, id in ipairs(dead) do drop(id) end
end

-- lives says for how long a claim in line has proved that it lives: no grant lasts
-- longer than its claimant's proof.
local function lives(id)
  return (tonumber(redis.call('ZSCORE', LIVE, id)) or 0) - ms
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

local function tellGrant(client, id, token, life)
  return tellClient(client, 'g ' .. id .. ' ' .. text(token) .. ' ' .. text(now) .. ' ' .. text(life))
end

-- keep has the line's keys live for one who lives for ttl from now.
local function keep(ttl) kept = math.max(kept, ttl) end

-- prolong is the last that is done with the line's keys. They live longer than they
-- must, so that not every claim has to see to it. Nobody has to sweep names that
-- nobody uses.
local function prolong(life)
  if life >= kept and alone(kind) then return end -- its keys came, and go, together
  life = text(math.max(life, 2 * kept + 1000))
  redis.call('PEXPIRE', CLAIMS, life)
  redis.call('PEXPIRE', WAIT, life)
  redis.call('PEXPIRE', LIVE, life)
end

-- finish writes the state; busy: somebody is in claims, nil: that is not known.
local function finish(busy)
  if busy == nil then busy = redis.call('EXISTS', CLAIMS) == 1 end
  local life = 0
  if busy and (kept > 0 or not alone(kind)) then life = redis.call('PTTL', CLAIMS) end
  local stay = RETENTION_MS + math.max(0, math.ceil((last - now) / 1000))
  if busy and alone(kind) then
    stay = math.max(stay, 2 * used + 1000)
  elseif busy then
    stay = math.max(stay, life, 2 * kept + 1000)
  else
    kind, limit, used = '-', 0, 0
  end
  if busy or watched > ms then
    redis.call('SET', STATE, 'v1 ' .. text(last) .. ' ' .. kind .. ' ' .. text(limit) .. ' ' .. text(used) .. ' ' .. text(watched), 'PX', text(stay))
  elseif last > 0 then
    redis.call('SET', STATE, text(last), 'PX', text(stay))
  else
    redis.call('DEL', STATE)
  end
  if busy and kept > 0 then prolong(life) end
  if changed and watched > ms then tell('lockstep:line:' .. NAME, '') end
end
