-- Counts more requests and tokens, or fewer, in a second of count.lua.
-- KEYS: as for count.lua. ARGV: second, requests, tokens; last, 1 if this may have run before: then nothing is changed.
local key, second = KEYS[1], ARGV[1]
if ARGV[4] == '1' or redis.call('HEXISTS', key, 'r:' .. second) == 0 then return 0 end
redis.call('HINCRBY', key, 'r:' .. second, ARGV[2])
redis.call('HINCRBY', key, 't:' .. second, ARGV[3])
redis.call('HINCRBY', key, 'r', ARGV[2])
redis.call('HINCRBY', key, 't', ARGV[3])
return 1
