-- Counts use that the server has not counted yet, or has lost, in the seconds in which it was.
-- KEYS: as for count.lua.
-- ARGV: who has used it, and a number or a name of it, by which it is counted once, also if it arrives again after later
--       ones with higher numbers; for each second how long ago it ended, requests and tokens; last, what is last in count.lua.
-- Returns 1, or 0 if it was counted before; 'lost' as count.lua does.
if KEYS[2] then
  local whole, known = redis.call('GET', KEYS[2]), tonumber(ARGV[#ARGV])
  if not whole or (known > 0 and tonumber(string.match(whole, ':(%d+)$') or 0) ~= known) then return 'lost' end
end
local key = KEYS[1]
local last = redis.call('HGET', key, 'n:' .. ARGV[1])
if last == ARGV[2] or (tonumber(last or '') or 0) > (tonumber(ARGV[2]) or math.huge) then return 0 end
local now = tonumber(redis.call('TIME')[1])
local first = tonumber(redis.call('HGET', key, 'h') or now)
for index = 3, #ARGV - 1, 3 do
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
