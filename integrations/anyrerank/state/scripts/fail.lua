-- Records that a deployment failed, and lets it cool down for all replicas if it failed too often.
-- KEYS: hash of all cooldowns, trial of the deployment, sorted set of its failures.
-- ARGV: channel, name of the deployment, seconds to cool down, failures that are allowed per minute, number of failures,
--       seconds that the server asks for ('': none), 1 if the next call would fail too, 1 if it was only rate limited,
--       id; last, 1 if this may have run before.
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1e6
redis.call('DEL', KEYS[2])
local pause, allowed, count = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local asked, lasting, limited = tonumber(ARGV[6]), ARGV[7] == '1', ARGV[8] == '1'
for number = 1, count do redis.call('ZADD', KEYS[3], now, ARGV[9] .. ':' .. number) end
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now - 60)
redis.call('EXPIRE', KEYS[3], 61)
local found = redis.call('HGET', KEYS[1], ARGV[2])
local known = found and cjson.decode(found) or {cooling = 0, retry = 0, half_open = false}
if asked then
  pause = asked
elseif not (known.half_open or lasting or redis.call('ZCARD', KEYS[3]) > allowed) then
  return 0
end
if not found and redis.call('HLEN', KEYS[1]) >= 10000 then return 0 end  -- names that callers make up for a wildcard
known.cooling = math.max(known.cooling, now + pause)
known.half_open = known.half_open or not limited
if limited or asked then known.retry = math.max(known.retry, now + pause) end
redis.call('HSET', KEYS[1], ARGV[2], cjson.encode(known))
redis.call('PUBLISH', ARGV[1], cjson.encode({
  deployment = ARGV[2], cooling = known.cooling - now, retry = math.max(0, known.retry - now),
  half_open = known.half_open,
}))
return 1
