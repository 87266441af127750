-- Makes a reservation again that the server has lost.
-- KEYS: as for reserve.lua. ARGV: id, seconds until it expires, amount.
local now = tonumber(redis.call('TIME')[1])
for index = 1, #KEYS / 2 do
  local hash, holds = KEYS[2 * index - 1], KEYS[2 * index]
  if redis.call('ZADD', holds, 'NX', now + tonumber(ARGV[2]), ARGV[1] .. ':' .. ARGV[3]) == 1 then
    redis.call('EXPIRE', holds, math.ceil(tonumber(ARGV[2])) + 86400)
    if redis.call('EXISTS', hash) == 1 then redis.call('HINCRBY', hash, 'reserved', ARGV[3]) end
  end
end
return 1
