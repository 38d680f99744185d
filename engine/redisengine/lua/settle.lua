-- settle repairs a line of any kind: nobody waits for what is free. Where it gave
-- NAME to somebody, it returns that (alone.lua, grantAlone).
local function settle(asking)
  if kind == '-' then return end
  if not alone(kind) then
    settleShared(asking)
  elseif redis.call('EXISTS', NAME) == 0 then
    local _, grant = settleAlone(asking)
    return grant
  end
end
