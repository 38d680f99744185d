-- Replace what others see of a claim.
--
-- KEYS: of the line (line.lua). ARGV: 1 id, 2 version, 3 note. Answer: whether
-- there is such a claim. A version that is not newer changes nothing: the request
-- was late.

--@ line
--@ alone
--@ shared
--@ settle
local err = open(0)
if err then return err end
sweep()
local id, version = ARGV[1], tonumber(ARGV[2])
local found = 0
local value = redis.pcall('GET', NAME)
if mine(value, id) then
  found = 1
  local _, k, token, was, term, client = parse(value)
  if version > tonumber(was) then
    redis.call('SET', NAME, id .. ':lockstep1:' .. k .. ':' .. token .. ':' .. ARGV[2] .. ':' .. term .. ':' .. client .. ':' .. ARGV[3], 'KEEPTTL')
    changed = true
  end
else
  local r = redis.call('HGET', CLAIMS, id)
  if r then
    found = 1
    local shares, token, ttl, term, was, client = record(r)
    if version > tonumber(was) then
      redis.call('HSET', CLAIMS, id, shares .. ' ' .. token .. ' ' .. ttl .. ' ' .. term .. ' ' .. ARGV[2] .. ' ' .. client .. ' ' .. ARGV[3])
      changed = true
    end
  end
end
settle()
finish()
return found
