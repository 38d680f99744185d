-- Where a map is, changing nothing.
--
-- KEYS: of the map (map_record.lua). Answer: the revision, whether there is a
-- record, the damage.

--@ map_record
local err = open()
if err then return err end
return {at(), revision > 0 and 1 or 0, damage}
