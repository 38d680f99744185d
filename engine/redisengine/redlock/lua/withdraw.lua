-- Withdraw: an attempt was lost. Its vote is given back, by its own number, so that
-- a withdrawal that is late takes no later attempt's; whoever goes on waiting gets
-- its place back.
--
-- KEYS: of the name (node.lua). ARGV: 1 id, 2 the attempt's number, 3 tail
-- (acquire.lua), 4 ttl, or 0: it does not wait, 5 the place it had, or ''. Answer:
-- how many are before it in line, -1: it is in none.

--@ node
open(0)
local id, ttl = ARGV[1], tonumber(ARGV[4])
local value = redis.pcall('GET', NAME)
local head = id .. ':redlock1:' .. ARGV[2] .. ':'
local freed = type(value) == 'string' and string.sub(value, 1, #head) == head
if freed then redis.call('DEL', NAME) end
if ttl == 0 then
  if freed then
    sweep()
    tellFirst()
    changed()
  end
  return -1
end
sweep()
if (freed or not mine(value, id)) and not redis.call('ZSCORE', WAIT, id) then
  enter(id, ARGV[3], ttl, ARGV[5])
  changed()
end
keep(ttl)
return redis.call('ZRANK', WAIT, id) or -1
