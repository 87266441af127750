-- Counts requests and tokens of the last minute, or refuses them.
-- KEYS: a hash: r and t are the sums, h the first second that counts, r:<second> and t:<second> what was used in it.
--       A second key, if there is one, exists while the server has its data.
-- ARGV: requests and tokens per minute ('' for no limit), requests, tokens; with a second key, the number that ends its
--       value as far as the process knows, 0 for none: a lower one is that of older data, and before a process counts
--       after a higher one, it has to give back what was counted before.
-- Returns {1, second, requests, tokens}, or {0, milliseconds to wait, requests, tokens}; 'lost' if the server has lost its
-- data, or what the process has to give back.
if KEYS[2] then
  local whole, known = redis.call('GET', KEYS[2]), tonumber(ARGV[5])
  if not whole or (known > 0 and tonumber(string.match(whole, ':(%d+)$') or 0) ~= known) then return 'lost' end
end
local time = redis.call('TIME')
local second = tonumber(time[1])
local now = second + tonumber(time[2]) / 1e6
local key = KEYS[1]
local rpm, tpm = tonumber(ARGV[1]) or math.huge, tonumber(ARGV[2]) or math.huge
local more_requests, more_tokens = tonumber(ARGV[3]), tonumber(ARGV[4])
local found = redis.call('HMGET', key, 'h', 'r', 't')
local requests, tokens = tonumber(found[2] or 0), tonumber(found[3] or 0)
local first = tonumber(found[1] or second)
local head = math.min(first, second)  -- the clock may have been set back
while head < second - 60 do  -- a second counts until its end is a minute old
  local used = redis.call('HMGET', key, 'r:' .. head, 't:' .. head)
  if used[1] or used[2] then
    requests, tokens = requests - tonumber(used[1] or 0), tokens - tonumber(used[2] or 0)
    redis.call('HDEL', key, 'r:' .. head, 't:' .. head)
  end
  head = head + 1
end
local fits_requests = requests + more_requests <= math.max(rpm, more_requests)
local fits_tokens = tokens + more_tokens <= math.max(tpm, more_tokens)
if fits_requests and fits_tokens then
  redis.call('HSET', key, 'h', head, 'r', requests + more_requests, 't', tokens + more_tokens)
  redis.call('HINCRBY', key, 'r:' .. second, more_requests)
  redis.call('HINCRBY', key, 't:' .. second, more_tokens)
  redis.call('EXPIRE', key, 62)
  return {1, second, requests + more_requests, tokens + more_tokens}
end
if head ~= first then redis.call('HSET', key, 'h', head, 'r', requests, 't', tokens) end
local left_requests, left_tokens, slot = requests, tokens, head
while slot <= second do
  local used = redis.call('HMGET', key, 'r:' .. slot, 't:' .. slot)
  left_requests, left_tokens = left_requests - tonumber(used[1] or 0), left_tokens - tonumber(used[2] or 0)
  slot = slot + 1
  if left_requests + more_requests <= math.max(rpm, more_requests)
    and left_tokens + more_tokens <= math.max(tpm, more_tokens) then break end
end
return {0, math.ceil((slot + 60 - now) * 1000), requests, tokens}
