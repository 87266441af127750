-- Lets a budget have spent an amount in its current window, if the server knows of less.
-- KEYS: the hash of reserve.lua. ARGV: seconds of its window, amount; last, 1 if this may have run before.
local seconds = tonumber(ARGV[1])
local window = seconds > 0 and math.floor(tonumber(redis.call('TIME')[1]) / seconds) or 0
local found = redis.call('HMGET', KEYS[1], 'window', 'spent')
if found[1] and tonumber(found[1]) == window and tonumber(found[2]) < tonumber(ARGV[2]) then
  redis.call('HSET', KEYS[1], 'spent', ARGV[2])
end
return 1
