-- A whole map where it is small; else only where it is, and it is then read page
-- by page: a server answers nobody else meanwhile.
--
-- KEYS: of the map (map_record.lua). ARGV: how many entries and bytes are small.
-- Answer: as map_look.lua, and, of a small map, all entries: key, value, ...

--@ map_record
local err = open()
if err then return err end
local answer = {at(), revision > 0 and 1 or 0, damage}
if size <= tonumber(ARGV[1]) and bytes <= tonumber(ARGV[2]) then
  answer[4] = redis.call('HGETALL', MAP)
end
return answer
