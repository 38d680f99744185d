-- Write: the second round. A node vouches for a token if the attempt has its vote
-- still and its count is not beyond the token: it has voted for nobody since who
-- could get the same.
--
-- KEYS: 1 the name, 2 its count. ARGV: 1 id, 2 the attempt's number, 3 the token.
-- Answer: whether it vouches. Asked again it answers the same.

local value = redis.pcall('GET', KEYS[1])
if type(value) ~= 'string' then return 0 end
local head = ARGV[1] .. ':redlock1:' .. ARGV[2] .. ':'
if string.sub(value, 1, #head) ~= head then return 0 end
local count = tonumber(redis.call('GET', KEYS[2])) or 0
local token = tonumber(ARGV[3])
if count > token then return 0 end
local time = redis.call('TIME')
redis.call('SET', KEYS[2], ARGV[3], 'PX', string.format('%.0f', RETENTION_MS + math.max(0, math.ceil(token / 1048576) - time[1]) * 1000))
local rest = string.match(string.sub(value, #head + 1), '^%d+(:.*)$')
redis.call('SET', KEYS[1], head .. ARGV[3] .. rest, 'KEEPTTL')
return 1
