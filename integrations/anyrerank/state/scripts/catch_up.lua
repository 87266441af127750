-- Counts use that the server has not counted yet, or has lost, in the seconds in which it was.
-- KEYS: as for count.lua; the second one, if there is one, exists while the server has its data.
-- ARGV: id of the process, number of this use, by which it is counted once; then for each second how long ago it ended,
--       requests and tokens.
-- Returns 1, or 0 if it was counted before; 'lost' if the server has lost its data.
if KEYS[2] and redis.call('EXISTS', KEYS[2]) == 0 then return 'lost' end
local key = KEYS[1]
if redis.call('HGET', key, 'n:' .. ARGV[1]) == ARGV[2] then return 0 end
local now = tonumber(redis.call('TIME')[1])
local first = tonumber(redis.call('HGET', key, 'h') or now)
for index = 3, #ARGV, 3 do
  local second = now - ARGV[index]
  redis.call('HINCRBY', key, 'r:' .. second, ARGV[index + 1])
  redis.call('HINCRBY', key, 't:' .. second, ARGV[index + 2])
  redis.call('HINCRBY', key, 'r', ARGV[index + 1])
  redis.call('HINCRBY', key, 't', ARGV[index + 2])
  first = math.min(first, second)
end
redis.call('HSET', key, 'h', first, 'n:' .. ARGV[1], ARGV[2])
redis.call('EXPIRE', key, 62)
return 1
