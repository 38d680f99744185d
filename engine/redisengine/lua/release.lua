-- Release: take a claim out of its line, held or waiting, and let the next in.
--
-- KEYS: of the line (line.lua); for a removal also 6, which says so to an owner
-- that looks before it was told. ARGV: 1 "id:lockstep1:", 2 why: 0 its owner gives it
-- back, 1 somebody else removes it, 2 its session ends, and leaves what has a term.
-- Answer: whether there was such a claim.
--
-- DEL comes first: where memory is full a script that begins with a SET is
-- refused, and nobody could ever unlock.

local why = ARGV[2]
local value = redis.pcall('GET', KEYS[1])
local held = type(value) == 'string' and string.sub(value, 1, #ARGV[1]) == ARGV[1]
local state = redis.call('GET', KEYS[2])
if held and why == '0' and state and string.sub(state, 1, 1) ~= 'v' then
  redis.call('DEL', KEYS[1])
  return 1
end

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

-- The way of a hand-over.
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
