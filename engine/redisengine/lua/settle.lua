-- settle repairs a line of any kind: nobody waits for what is free.
local function settle(asking)
  if kind == '-' then return end
  if not alone(kind) then
    settleShared(asking)
  elseif redis.call('EXISTS', NAME) == 0 then
    settleAlone(asking)
  end
end
