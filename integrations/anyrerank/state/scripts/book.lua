-- Books the place of a request in a limit (GCRA), if its turn does not come too late; returns the microseconds until then.
-- KEYS: a hash: r and t, when requests and tokens are due, in microseconds.
-- ARGV: microseconds that the request takes of the rate of requests, 0 for no limit; the same for its tokens; by how many
-- microseconds it may come early; how many it may wait, or empty for any number.
local key = KEYS[1]
local requests, tokens, tolerance, longest = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local found = redis.call('HMGET', key, 'r', 't')
local requests_due, tokens_due = tonumber(found[1] or now), tonumber(found[2] or now)
local start = now
if requests > 0 then start = math.max(start, requests_due - tolerance) end
if tokens > 0 then start = math.max(start, tokens_due - tolerance) end
if longest and start - now > longest then return start - now end
requests_due, tokens_due = math.max(requests_due, start) + requests, math.max(tokens_due, start) + tokens
redis.call('HSET', key, 'r', string.format('%.0f', requests_due), 't', string.format('%.0f', tokens_due))
redis.call('PEXPIRE', key, math.ceil((math.max(requests_due, tokens_due) - now) / 1000) + 1000)
return start - now
