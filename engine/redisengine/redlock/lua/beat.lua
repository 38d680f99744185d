-- Beat: renew claims that wait, many at once, and say where they stand.
--
-- KEYS: for each claim, of its name (node.lua). ARGV: 1 ttl, then the ids. Answer:
-- for each claim two numbers: how many are before it in line (-1: it is not there, -2: it has
-- this node's vote), and for how many ms the name is taken (-1: not known, -2: it is
-- free).

local answer = {}
--@ node
for i = 1, #ARGV - 1 do
  open(5 * (i - 1))
  local id, ttl = ARGV[i + 1], tonumber(ARGV[1])
  if mine(redis.pcall('GET', NAME), id) then
    answer[2 * i - 1] = -2
  elseif lives(id) > 0 then
    redis.call('ZADD', LIVE, text(ms + ttl), id)
    sweep()
    keep(ttl)
    answer[2 * i - 1] = redis.call('ZRANK', WAIT, id) or -1
  else
    drop(id)
    answer[2 * i - 1] = -1
  end
  answer[2 * i] = redis.call('PTTL', NAME)
end
return answer
