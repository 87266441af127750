-- Keeps requests counted as in flight, or counts them again if they were given up or the server lost its data.
-- KEYS: as for enter.lua. ARGV: seconds, ids.
local ends = tonumber(redis.call('TIME')[1]) + tonumber(ARGV[1])
for index = 2, #ARGV do redis.call('ZADD', KEYS[1], ends, ARGV[index]) end
redis.call('EXPIRE', KEYS[1], tonumber(ARGV[1]) + 1)
return #ARGV - 1
