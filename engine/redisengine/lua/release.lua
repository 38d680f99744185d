-- Release: take a claim out of its line, held or waiting, and let the next in.
--
-- KEYS: of the line (line.lua); for a removal also 6, which says so to an owner
-- that looks before it was told. ARGV: 1 "id:lockstep1:", 2 why: 0 its owner gives it
-- back, 1 somebody else removes it, 2 its session ends, and leaves what has a term.
-- Answer: whether there was such a claim.
--
-- Three ways, from the shortest to the one that minds everything. The next holder
-- waits for all that is done here, and after a rest of some milliseconds each call of
-- redis takes five to ten microseconds, not half a one: the first two ways make no
-- call that they can do without.

local call, pcall = redis.call, redis.pcall
local mark, why = ARGV[1], ARGV[2]
local value, state = pcall('GET', KEYS[1]), call('GET', KEYS[2])
local held = type(value) == 'string' and string.sub(value, 1, #mark) == mark

-- Nobody waits.
if held and why == '0' and state and string.sub(state, 1, 1) ~= 'v' then
  call('DEL', KEYS[1])
  return 1
end

-- handOver does what settleAlone and finish do where nothing is out of the ordinary,
-- and says whether that was so. If not, it leaves the line as it was, and NAME perhaps
-- to one who was not told: the third way takes it from there.
--
-- SET comes first: where memory is full it is refused, and nothing has changed.
local function handOver()
  local last, kind, used, watched = string.match(state, '^v1 (%d+) ([me]) 1 (%d+) (%d+)$')
  if not last then return false end
  local ids = call('ZRANGE', KEYS[4], 0, 1)
  local id, more = ids[1], ids[2]
  local r = id and call('HGET', KEYS[3], id)
  if not r then return false end
  local ttl, version, client, note = string.match(r, '^1 0 (%d+) 0 (%d+) (%S+) (.*)$')
  local deadline = ttl and call('ZSCORE', KEYS[5], id)
  if not deadline then return false end

  local time = call('TIME')
  local ms = time[1] * 1000 + math.floor(time[2] / 1000)
  local token = time[1] .. string.sub('00000' .. time[2], -6)
  local life = math.min(deadline - ms, ttl)
  if token <= last or life <= 0 or more and life < used / 2 then return false end
  if pcall('SET', KEYS[1], id .. ':lockstep1:' .. kind .. ':' .. token .. ':' .. version .. ':0:' .. client .. ':' .. note,
    'PX', life).err then return false end
  local heard = pcall('PUBLISH', 'lockstep:client:' .. client, 'g ' .. id .. ' ' .. token .. ' ' .. token .. ' ' .. life)
  if type(heard) ~= 'number' or heard == 0 then return false end

  state = token
  local seen = watched - ms > 0
  if more then
    call('HDEL', KEYS[3], id)
    call('ZREM', KEYS[4], id)
    call('ZREM', KEYS[5], id)
    state = 'v1 ' .. token .. ' ' .. kind .. ' 1 ' .. used .. ' ' .. watched
  else
    call('DEL', KEYS[3], KEYS[4], KEYS[5])
    if seen then state = 'v1 ' .. token .. ' - 0 0 ' .. watched end
  end
  call('SET', KEYS[2], state, 'PX', math.max(RETENTION_MS, more and 2 * used + 1000 or 0))
  if seen then pcall('PUBLISH', 'lockstep:line:' .. KEYS[1], '') end
  return true
end
if held and why == '0' and state and handOver() then return 1 end

--@ line
--@ alone
--@ shared
--@ settle
local err = open(0, state)
if err then return err end
local id = string.sub(ARGV[1], 1, -12)

-- removed tells the owner, who looks within its TTL.
local function removed(client, life)
  if KEYS[6] and tonumber(life) > 0 then redis.call('SET', KEYS[6], '', 'PX', life) end
  tellClient(client, 'x ' .. id)
end

-- DEL comes first: where memory is full a script that begins with a SET is
-- refused, and nobody could ever unlock.
if held then
  local _, _, token, _, term, client
  if why ~= '0' or not state then _, _, token, _, term, client = parse(value) end
  if why == '2' and term ~= '0' then return 0 end
  local life = why == '1' and redis.call('PTTL', NAME)
  redis.call('DEL', NAME)
  if token then last = math.max(last, token) end
  changed = true
  if why == '1' then removed(client, life) end
  finish(alone(kind) and (settleAlone()))
  return 1
end

local count = 0
if why == '1' and type(value) == 'string' and 'foreign' .. redis.sha1hex(value) == id then
  redis.call('DEL', NAME)
  count, changed = 1, true
else
  local r = redis.call('HGET', CLAIMS, id)
  local first = redis.call('ZRANGE', WAIT, 0, 0)[1] == id
  local token, ttl, term, client, _
  if r then _, token, ttl, term, _, client = record(r) end
  local stays = why == '2' and r and token ~= '0' and term ~= '0'
  if not stays and drop(id) then
    count = 1
    if why == '1' then removed(client, ttl) end
    if first and alone(kind) then warnHead(redis.call('PTTL', NAME)) end
  end
end
sweep()
settle()
finish()
return count
