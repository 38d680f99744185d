-- Kinds that share: read-write locks, semaphores, groups. Their holders are in
-- claims, and end there: so whoever works on such a line sweeps it first.

-- settleShared lets in whoever fits, in order: who does not fit keeps all behind
-- it waiting. Who cannot be told keeps its place, and the next is asked.
local function settleShared(asking)
  local passed = 0
  while true do
    local ids = redis.call('ZRANGE', WAIT, passed, passed + 15)
    if #ids == 0 then return end
    for _, id in ipairs(ids) do
      local r = redis.call('HGET', CLAIMS, id)
      if not r then
        drop(id)
      else
        local shares, _, ttl, term, version, client, note = record(r)
        if used + shares > limit then return end
        local life = math.min(lives(id), ttl)
        if term ~= '0' then life = tonumber(term) end
        local token = nextToken()
        redis.call('HSET', CLAIMS, id, shares .. ' ' .. text(token) .. ' ' .. ttl .. ' ' .. term .. ' ' .. version .. ' ' .. client .. ' ' .. note)
        if asking and asking[id] or tellGrant(client, id, token, life) then
          redis.call('ZREM', WAIT, id)
          if term ~= '0' then
            redis.call('ZADD', LIVE, text(ms + term), id)
            keep(tonumber(term))
          end
          used = used + shares
          changed = true
        else
          redis.call('HSET', CLAIMS, id, r)
          passed = passed + 1
        end
      end
    end
  end
end

-- waitsShared is waits (alone.lua): what ends first is in the way.
local function waitsShared(id)
  local left = -1
  local first = redis.call('ZRANGE', LIVE, 0, 0, 'WITHSCORES')
  if #first > 0 then left = math.max(first[2] - ms, 0) end
  return {'w', redis.call('ZRANK', WAIT, id) or -1, left, now, last, 0}
end
