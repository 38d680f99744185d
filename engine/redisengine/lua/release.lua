-- Release: take a claim out of its line, held or waiting, and let the next in.
--
-- KEYS: of the line (line.lua). ARGV: 1 "id:lockstep1:",
-- 2 why: 0 its owner gives it back, 1
-- somebody else removes it, 2 its session ends, and leaves what has a term.
-- Answer: whether there was such a claim.
--
-- DEL comes first: where memory is full a script that begins with a SET is
-- refused, and nobody could ever unlock.

if ARGV[2] == '0' then
  local value = redis.pcall('GET', KEYS[1])
  if type(value) == 'string' and string.sub(value, 1, #ARGV[1]) == ARGV[1] then
    local state = redis.call('GET', KEYS[2])
    if state and string.sub(state, 1, 1) ~= 'v' then
      redis.call('DEL', KEYS[1])
      return 1
    end
  end
end

--@ line
local id = string.gsub(ARGV[1], ':lockstep1:$', '')
local err = open(0)
if err then return err end
local value = redis.pcall('GET', NAME)
local removed = 0
if mine(value, id) then
  local _, _, token, _, term, client = parse(value)
  if ARGV[2] ~= '2' or term == '0' then
    redis.call('DEL', NAME)
    last = math.max(last, token)
    removed, changed = 1, true
    if ARGV[2] == '1' then tellClient(client, 'x ' .. id) end
  end
elseif ARGV[2] == '1' and type(value) == 'string' and 'foreign' .. redis.sha1hex(value) == id then
  redis.call('DEL', NAME)
  removed, changed = 1, true
else
  local r = redis.call('HGET', CLAIMS, id)
  local first = redis.call('ZRANGE', WAIT, 0, 0)[1] == id
  local token, term, client, _
  if r then _, token, _, term, _, client = record(r) end
  local stays = ARGV[2] == '2' and r and token ~= '0' and term ~= '0'
  if not stays and drop(id) then
    removed = 1
    if ARGV[2] == '1' then tellClient(client, 'x ' .. id) end
    if first and alone(kind) then warnHead(redis.call('PTTL', NAME)) end
  end
end
sweep()
settle()
finish()
return removed
