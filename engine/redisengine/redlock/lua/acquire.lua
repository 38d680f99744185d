-- Acquire: this node's vote for one attempt of a claim.
--
-- KEYS: of the name (node.lua). ARGV: 1 id, 2 the attempt's number, 3 for how many
-- ms a vote is given, 4 "kind:term:version:client:note", 5 mode, 6 ttl of one who
-- waits. Modes: t takes it now or leaves nothing, n is new and waits at the end of
-- the line, c is in line already. Answers:
--
--   count, as text: a vote, from a node where nobody waits
--   {count, place, left}  a vote; the place it had in line ('': none), to be given
--     back with the vote; for how many ms it lasts
--   {'h', whose, kind, left, rank}  no: whose claim has it (a foreign one's hash; '-': the
--     name is free, and others were first), for how many ms (-1: not known), and how
--     many are before it in line (-1: it is in none)
--   {'m', why}  no: what is there cannot be shared with
--   {'s'}  nothing: a later attempt of the claim has been here
--
-- The common case is a name that nobody has or waits for. The count comes first:
-- where memory is full it is refused, and nothing has changed.

if redis.call('EXISTS', KEYS[1], KEYS[4]) == 0 then
  local time = redis.call('TIME')
  local count = math.max((tonumber(redis.call('GET', KEYS[2])) or 0) + 1, time[1] * 1048576)
  local ahead = math.max(0, math.ceil(count / 1048576) - time[1])
  count = string.format('%.0f', count)
  redis.call('SET', KEYS[2], count, 'PX', string.format('%.0f', RETENTION_MS + ahead * 1000))
  local since = time[1] .. string.sub('00000' .. time[2], -6, -4)
  redis.call('SET', KEYS[1], ARGV[1] .. ':redlock1:' .. ARGV[2] .. ':' .. count .. ':' .. since .. ':' .. ARGV[4], 'PX', ARGV[3])
  redis.pcall('PUBLISH', 'lockstep:redlock:line:' .. KEYS[1], '')
  return count
end

--@ node
open(0)
local value = redis.pcall('GET', NAME)
local id, attempt, life, tail, mode, ttl = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local kind = string.sub(tail, 1, 1)

if type(value) == 'table' then
  return {'m', 'the key holds another type of value (' .. redis.call('TYPE', NAME).ok .. '), so another program uses it'}
end
if value and newer(value) then
  return redis.error_reply('LAYOUT ' .. string.match(value, '^%w+:(redlock%d+):'))
end

local function vote(since, left)
  local count = text(nextCount())
  local new = id .. ':redlock1:' .. attempt .. ':' .. count .. ':' .. since .. ':' .. tail
  if left then
    redis.call('SET', NAME, new, 'KEEPTTL')
  else
    redis.call('SET', NAME, new, 'PX', life)
    left = tonumber(life)
  end
  changed()
  return count, left
end

if mine(value, id) then
  local _, was, count, since, _, term = parse(value)
  if tonumber(was) > tonumber(attempt) then return {'s'} end
  local left = redis.call('PTTL', NAME)
  if was == attempt then return {count, '', left} end -- it came twice
  if term == '0' then left = nil end
  count, left = vote(since, left)
  return {count, '', left}
end

sweep()
if not value then
  local place = redis.call('ZSCORE', WAIT, id)
  local others = #redis.call('ZRANGE', WAIT, 0, 1) > (place and 1 or 0)
  if mode == 'c' or place or not others then
    if place then drop(id) end
    local count, left = vote(text(ms))
    tellFirst(left)
    return {count, place or '', left}
  end
end

local whose, holds, left = '-', '-', 0
if value then
  left = redis.call('PTTL', NAME)
  local owner, _, _, _, k = parse(value)
  whose, holds = owner or redis.sha1hex(value), k or 'f'
end
if mode == 'n' and not redis.call('ZSCORE', WAIT, id) then
  enter(id, tail, ttl, '')
  changed()
elseif mode ~= 't' and lives(id) > 0 then
  redis.call('ZADD', LIVE, text(ms + ttl), id)
end
if mode ~= 't' then keep(ttl) end
if not value then tellFirst() end -- once more: it may not have heard, or be gone
return {'h', whose, holds, left, redis.call('ZRANK', WAIT, id) or -1}
