-- The keys of one map, which every map script begins with.
--
-- KEYS:
--   1 map     key -> "revision value": what is true now
--   2 log     a stream of the last commits, ids `revision-0`. Its field p is the
--             revision before, the others are the changes. It may be shorter than
--             it was, or missing: who reads it follows p, and where that does not
--             lead on from what he knows, he has missed something (the log was
--             trimmed, the data lost, a replica took over that was behind). Its
--             least size is 4 KB, which is why a map's first commit is not in it,
--             and why it does not live as long as its map.
--   3 record  "v1 revision entries bytes mark commits logged": the last commit; the
--             map's entries and their bytes; of the log, the revision that begins
--             its younger half, and the commits and bytes of that. No record: no
--             commit that anybody remembers.
--
-- A map whose entries are not as many as its record says has been damaged (the
-- server evicts keys, or somebody removed one): `damage` is by how many.
--
-- Numbers are written with %.0f: Lua's own way keeps 14 digits.

local UNKNOWN = 2 ^ 40  -- bytes of a damaged map: many, until it is empty

local MAP, LOG, RECORD = KEYS[1], KEYS[2], KEYS[3]
local revision, entries, bytes = 0, 0, 0  -- the record; revision 0: there is none
local mark, commits, logged = 0, 0, 0
local size, damage                        -- how many entries there are

local function text(n) return string.format('%.0f', n) end

local function now()
  local t = redis.call('TIME')
  return t[1] * 1000000 + t[2]
end

local function open()
  size = redis.call('HLEN', MAP)
  local record = redis.call('GET', RECORD)
  if record then
    local v, r, e, b, m, c, l = string.match(record, '^(v%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+)$')
    if v ~= 'v1' then
      return redis.error_reply('LAYOUT ' .. string.sub(record, 1, 16))
    end
    revision, entries, bytes = tonumber(r), tonumber(e), tonumber(b)
    mark, commits, logged = tonumber(m), tonumber(c), tonumber(l)
  end
  damage = size - entries
  if damage ~= 0 then bytes = UNKNOWN end
end

-- at is the revision that a map without commits is at. It is below that of any
-- commit to come.
local function at()
  if revision > 0 then return text(revision) end
  return text(now() - 1)
end
