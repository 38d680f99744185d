-- Commit to a map: all or nothing, and once.
--
-- KEYS: of the map (map_record.lua), and, where the commit has an id, 4 tx: what
-- it was answered.
-- ARGV: 1 channel, 2 conditions, 3 changes; for each condition key and revision
-- ('0': no such key); for each change '=' and key to write or '-' and key to
-- delete, and the value.
-- Answer: the revision; or, where a condition does not hold, its number and the
-- key's revision.
--
-- Everything is read before anything is written: a key of another type, a newer
-- layout or a condition that does not hold stops the script while it has changed
-- nothing. At maxmemory a server refuses a write that could need memory if it is
-- the script's first, and none after it: so a commit that writes is refused whole,
-- and one that only deletes begins with what frees memory and is carried out.
--
-- A value is copied as seldom as can be: a long one costs the server more than all
-- the rest.

--@ map_record
local HALF_COMMITS = 1024             -- of half the log: the log has one to two halves
local HALF_BYTES = 4 * 1024 * 1024    -- of half the log, or one commit
local LOGGED_BYTES = 8 * 1024 * 1024  -- a longer commit is not logged
local LOGGED_CHANGES = 1000           -- more are one field: a call has a limited number
local TOLD_BYTES = 16 * 1024          -- a longer commit's changes are not in the message
local LOG_MS = RETENTION_MS           -- that the log lives after a commit
local EMPTIED_MS = math.min(RETENTION_MS, 60 * 1000) -- and after one that empties the map
local TX = KEYS[4]

local err = open()
if err then return err end
local length = redis.call('XLEN', LOG)

-- 1. Once.
local answer = TX and redis.call('GET', TX)
if answer then return {answer} end

-- 2. The conditions.
local arg = 4
for i = 1, tonumber(ARGV[2]) do
  local entry = redis.call('HGET', MAP, ARGV[arg])
  local is = entry and string.match(entry, '^%d+') or '0'
  if is ~= ARGV[arg + 1] then return {i, is} end
  arg = arg + 2
end

-- 3. What changes: field and value in turn. The deletion of a key that is not
-- there does not.
local changes, puts, long = {}, 0, 0
for i = arg, arg + 2 * tonumber(ARGV[3]) - 2, 2 do
  local key = string.sub(ARGV[i], 2)
  local was = redis.call('HSTRLEN', MAP, key)
  local put = string.byte(ARGV[i]) == 61 -- '='
  if put or was > 0 then
    changes[#changes + 1] = ARGV[i]
    changes[#changes + 1] = ARGV[i + 1]
    bytes = bytes - was
    long = long + #ARGV[i] + #ARGV[i + 1]
  end
  if put then puts = puts + 1 end
end

local function remember(r)
  if TX then redis.call('SET', TX, r, 'PX', RETENTION_MS) end
end

if #changes == 0 then
  local r = at()
  if TX then redis.call('DEL', TX) end -- it is not there: at maxmemory, a first write that needs no memory
  remember(r)
  return {r}
end

-- 4. The revision. What was logged before a damage does not lead on from it.
local previous = '0'
if revision > 0 and damage == 0 then previous = text(revision) end
revision = math.max(revision + 1, now())
local r = text(revision)

-- framed is a head and the changes as one text: `=5 3 limit100` for a key and its
-- value, `-5 0 limit` for a key that is deleted.
local function framed(head)
  local parts = {head}
  for i = 1, #changes, 2 do
    parts[#parts + 1] = string.sub(changes[i], 1, 1) .. (#changes[i] - 1) .. ' ' .. #changes[i + 1] .. ' '
    parts[#parts + 1] = string.sub(changes[i], 2)
    parts[#parts + 1] = changes[i + 1]
  end
  return table.concat(parts)
end

-- 5. Log. Its older half is dropped when the younger one is full, and all of it
-- where it would not lead to this commit.
if puts == 0 then redis.call('PERSIST', LOG) end -- as above
if length > 0 and (previous == '0' or long > LOGGED_BYTES) then
  redis.call('DEL', LOG)
  length = 0
end
if length == 0 then mark, commits, logged = 0, 0, 0 end
if previous ~= '0' and long <= LOGGED_BYTES then
  if #changes <= 2 * LOGGED_CHANGES then
    redis.call('XADD', LOG, r .. '-0', 'p', previous, unpack(changes))
  else
    redis.call('XADD', LOG, r .. '-0', 'p', previous, 'c', framed(''))
  end
  if commits >= HALF_COMMITS or commits > 0 and logged + long > HALF_BYTES then
    redis.call('XTRIM', LOG, 'MINID', text(mark))
    mark, commits, logged = revision, 0, 0
  end
  commits, logged = commits + 1, logged + long
end

-- 6. Write.
entries = size
for i = 1, #changes, 2 do
  local key = string.sub(changes[i], 2)
  if string.byte(changes[i]) == 61 then
    local entry = r .. ' ' .. changes[i + 1]
    entries = entries + redis.call('HSET', MAP, key, entry)
    bytes = bytes + #entry
  else
    entries = entries - redis.call('HDEL', MAP, key)
  end
end

-- 7. The record. An empty map is forgotten after a while, and remembered again
-- with its next entry.
if entries == 0 then bytes = 0 end
local record = table.concat({'v1', r, text(entries), text(bytes), text(mark), text(commits), text(logged)}, ' ')
if entries == 0 then
  redis.call('SET', RECORD, record, 'PX', RETENTION_MS)
  redis.call('PEXPIRE', LOG, EMPTIED_MS)
else
  redis.call('SET', RECORD, record)
  redis.call('PEXPIRE', LOG, LOG_MS)
end
remember(r)

-- 8. Tell. Nothing is left to do if that is not allowed.
local message = 'v1 ' .. previous .. ' ' .. r
if long <= TOLD_BYTES then message = framed(message .. ' ') end
redis.pcall('PUBLISH', ARGV[1], message)
return {r}
