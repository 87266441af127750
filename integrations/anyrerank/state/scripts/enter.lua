-- Counts a request as in flight, or refuses it.
-- KEYS: sorted set of requests in flight by the time at which they are given up. ARGV: id, seconds, limit.
-- A second key exists while the server has its data; then, last in ARGV, the least number that ends its value.
-- Returns {1 or 0, how many are in flight}, or 'lost' if the server has lost its data.
if KEYS[2] then
  local whole = redis.call('GET', KEYS[2])
  if not whole or tonumber(string.match(whole, ':(%d+)$') or 0) < tonumber(ARGV[4]) then return 'lost' end
end
local now = tonumber(redis.call('TIME')[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
local count = redis.call('ZCARD', KEYS[1])
if count >= tonumber(ARGV[3]) then return {0, count} end
redis.call('ZADD', KEYS[1], now + tonumber(ARGV[2]), ARGV[1])
redis.call('EXPIRE', KEYS[1], tonumber(ARGV[2]) + 1)
return {1, count + 1}
