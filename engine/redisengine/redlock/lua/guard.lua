-- Guard: whether this node has run for so long that nothing can be held of what was
-- granted before it started. It runs between a WATCH of its key and the transaction that loads
-- the scripts: where they must not be loaded it changes the key, and the transaction
-- is void. So a node that restarts in between is not voted at: it is another
-- connection, and the watch is gone.
--
-- Whoever may not look counts as one that has not run at all. Where the key cannot be
-- changed (memory is full, the disk is, it is a replica), nor can the transaction, which
-- changes it too, be carried out.
--
-- KEYS: 1 a key of its own. ARGV: 1 the seconds that it must have run. Answer: how
-- many seconds it has, and its version.

local info = redis.pcall('INFO', 'server')
local refused = type(info) == 'table' and info
if refused then info = '' end
local up = tonumber(string.match(info, 'uptime_in_seconds:(%d+)')) or 0
local version = string.match(info, 'redis_version:(%S+)') or ''
local major = tonumber(string.match(version, '^(%d+)')) or 0
if up < tonumber(ARGV[1]) or major < 7 then
  redis.call('SET', KEYS[1], '', 'PX', 1000)
  redis.call('DEL', KEYS[1])
end
return refused or {up, version}
