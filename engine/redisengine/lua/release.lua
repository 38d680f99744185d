-- Release: take a claim out of its line, held or waiting, and let the next in.
--
-- KEYS: of the line (line.lua). ARGV: 1 "id:lockstep1:", 2 why: 0 its owner gives
-- it back, 1 somebody else removes it, 2 its session ends, and leaves what has a
-- term. Answer: whether there was such a claim.
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

-- The way of a hand-over.
if held then
  local _, _, token, _, term, client
  if why ~= '0' or not state then _, _, token, _, term, client = parse(value) end
  if why == '2' and term ~= '0' then return 0 end
  redis.call('DEL', NAME)
  if token then last = math.max(last, token) end
  changed = true
  if why == '1' then tellClient(client, 'x ' .. id) end
  finish(alone(kind) and (settleAlone()))
  return 1
end

local removed = 0
if why == '1' and type(value) == 'string' and 'foreign' .. redis.sha1hex(value) == id then
  redis.call('DEL', NAME)
  removed, changed = 1, true
else
  local r = redis.call('HGET', CLAIMS, id)
  local first = redis.call('ZRANGE', WAIT, 0, 0)[1] == id
  local token, term, client, _
  if r then _, token, _, term, _, client = record(r) end
  local stays = why == '2' and r and token ~= '0' and term ~= '0'
  if not stays and drop(id) then
    removed = 1
    if why == '1' then tellClient(client, 'x ' .. id) end
    if first and alone(kind) then warnHead(redis.call('PTTL', NAME)) end
  end
end
sweep()
settle()
finish()
return removed
