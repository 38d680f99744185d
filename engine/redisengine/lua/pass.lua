-- Pass: release a held claim, and grant a waiter that is named before all others.
--
-- KEYS: of the line (line.lua). ARGV: 1 the holder's id, 2 the waiter's. Answer:
-- whether it is done, now or by an earlier call.

--@ line
--@ alone
--@ shared
--@ settle
local err = open(0)
if err then return err end
sweep()
local giver, heir = ARGV[1], ARGV[2]
local value = redis.pcall('GET', NAME)
local r = redis.call('HGET', CLAIMS, heir)
local g = redis.call('HGET', CLAIMS, giver)

local function answer(done)
  finish()
  return done
end

if not mine(value, giver) and not g then
  local heirHolds = mine(value, heir)
  if r then
    local _, token = record(r)
    heirHolds = heirHolds or token ~= '0'
  end
  return answer(heirHolds and 1 or 0)
end
if not r or redis.call('ZSCORE', WAIT, heir) == false then return answer(0) end
if g then
  local _, token = record(g)
  if token == '0' then return answer(0) end
  drop(giver)
else
  redis.call('DEL', NAME)
end
changed = true
local first = redis.call('ZRANGE', WAIT, 0, 0, 'WITHSCORES')[2]
redis.call('ZADD', WAIT, text(first - 1), heir)
settle({[heir] = true})
-- It was let in without being told: it is told now, or looks by itself.
local _, _, _, _, _, client = record(r)
tellClient(client, 'l ' .. heir)
return answer(1)
