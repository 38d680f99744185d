-- Beat: the waiters of some names say that they live, and so do the holders of
-- kinds that share; their lines are repaired by the way.
--
-- KEYS: of the lines, five each. ARGV: 1 ttl in ms, then for each name how many
-- ids, and these. Answer, for each name: now, last, left and foreign (alone.lua,
-- waits), and for each id its token, 0: it is not there, or -1 - place: it waits.

local ttl = ARGV[1]
--@ line
--@ alone
--@ shared
--@ settle
local at, answers = 2, {}
for base = 0, #KEYS - 1, 5 do
  local err = open(base)
  if err then return err end
  local n = tonumber(ARGV[at])
  local asking = {}
  for i = at + 1, at + n do
    local id = ARGV[i]
    asking[id] = true
    local r = redis.call('HGET', CLAIMS, id)
    if r and lives(id) > 0 then
      local _, token, _, term = record(r)
      if token == '0' or term == '0' then
        redis.call('ZADD', LIVE, text(ms + ttl), id)
        keep(tonumber(ttl))
      end
    end
  end
  sweep()
  local value, left = redis.pcall('GET', NAME), redis.call('PTTL', NAME)
  local grant = settle(asking)
  if grant then left = grant.life end
  local answer, held = {now, 0, left, isForeign(value)}, false
  for i = at + 1, at + n do
    local id = ARGV[i]
    local r = redis.call('HGET', CLAIMS, id)
    if grant and grant.id == id then
      answer[#answer + 1] = grant.token
    elseif mine(value, id) then
      local _, _, token, _, term = parse(value)
      held = term == '0'
      answer[#answer + 1] = tonumber(token)
    elseif r then
      local _, token = record(r)
      if token ~= '0' then
        answer[#answer + 1] = tonumber(token)
      else
        local w = alone(kind) and waits(id, left) or waitsShared(id)
        answer[3] = w[3]
        answer[#answer + 1] = -1 - w[2]
      end
    else
      answer[#answer + 1] = 0
    end
  end
  answer[2] = last
  if held then redis.call('PEXPIRE', NAME, ttl) end
  finish()
  answers[#answers + 1] = answer
  at = at + n + 1
end
return answers
