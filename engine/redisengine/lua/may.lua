-- May: whether this user may send some commands. It sends none that changes what
-- anybody sees.
--
-- ARGV: 1 a key of this examination's own, 2 '1' to try what could be asked, then for
-- each command how many words it has, and these. Answer: 1 the server was asked, 0
-- commands were tried; and for each 1 it may, 0 it may not, -1 there is no such
-- command. The key is not in KEYS: a user who may not use it could not ask then.
--
-- Since 7.0 the server can be asked. Before, commands are tried on a key that
-- holds a string and ends with this script: what does not fit a string is refused
-- after the permission was checked and before anything is changed.

local function asked(words)
  local known, may = pcall(redis.acl_check_cmd, unpack(words))
  if not known then return -1 end
  return may and 1 or 0
end

local function tried(words)
  redis.pcall('SET', ARGV[1], '', 'PX', 1000)
  local answer = redis.pcall(unpack(words))
  local err = type(answer) == 'table' and answer.err
  if not err then return 1 end
  if string.find(err, 'nknown') then return -1 end
  local refused = string.find(err, 'NOPERM') or string.find(err, 'The user executing the script')
  return refused and 0 or 1
end

local try = redis.acl_check_cmd and ARGV[2] == '0' and asked or tried
local answers = {try == asked and 1 or 0}
local at = 3
while at <= #ARGV do
  local words = {}
  for i = at + 1, at + ARGV[at] do words[#words + 1] = ARGV[i] end
  answers[#answers + 1] = try(words)
  at = at + 1 + ARGV[at]
end
if try == tried and redis.pcall('DEL', ARGV[1]) ~= 1 then redis.pcall('PEXPIRE', ARGV[1], 1000) end
return answers
