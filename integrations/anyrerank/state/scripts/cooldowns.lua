-- The cooldowns of all deployments, without those that ended more than an hour ago.
-- KEYS: the hash of fail.lua. Returns JSON as in its messages.
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1e6
local reply = {}
local found = redis.call('HGETALL', KEYS[1])
for index = 1, #found, 2 do
  local known = cjson.decode(found[index + 1])
  if known.cooling < now - 3600 then
    redis.call('HDEL', KEYS[1], found[index])
  else
    table.insert(reply, cjson.encode({
      deployment = found[index], cooling = math.max(0, known.cooling - now), retry = math.max(0, known.retry - now),
      half_open = known.half_open,
    }))
  end
end
return reply
