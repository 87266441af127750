-- Reserves an amount in each of several budgets, or in none of them.
-- KEYS: for each budget a hash (window, spent, reserved) and a sorted set (reservations by the time at which they expire);
--       last, if there is one, the key that exists while the server has its data.
-- ARGV: id, seconds until it expires; then for each budget: limit, seconds of its window (0: it never ends), amount, and
--       what is spent if the server knows nothing of it ('': not known here either); last, with that key, the least number
--       that ends its value: a lower one is that of older data. Amounts are in billionths of a dollar.
-- Returns {'held', now, spent, reserved, spent, reserved, ...}, {'unknown', index, start of the window},
-- {'refused', index, spent, reserved}, or 'lost' if the server has lost its data.
if #KEYS % 2 == 1 then
  local whole = redis.call('GET', KEYS[#KEYS])
  if not whole or tonumber(string.match(whole, ':(%d+)$') or 0) < tonumber(ARGV[#ARGV]) then return 'lost' end
end
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1e6
local function text(number) return string.format('%.0f', number) end
local budgets = {}
for index = 1, #KEYS / 2 do
  local hash, holds = KEYS[2 * index - 1], KEYS[2 * index]
  local limit, seconds = tonumber(ARGV[4 * index - 1]), tonumber(ARGV[4 * index])
  local amount, base = tonumber(ARGV[4 * index + 1]), ARGV[4 * index + 2]
  local window = seconds > 0 and math.floor(now / seconds) or 0
  local found = redis.call('HMGET', hash, 'window', 'spent', 'reserved')
  local spent, reserved = tonumber(found[2] or 0), tonumber(found[3] or 0)
  local changed = true
  if not found[1] then
    if base == '' then return {'unknown', index, window * seconds} end
    spent, reserved = tonumber(base), 0
    redis.call('HSET', hash, 'since', string.format('%.6f', now))
    redis.call('ZREMRANGEBYSCORE', holds, '-inf', now)
    for _, hold in ipairs(redis.call('ZRANGE', holds, 0, -1)) do  -- those that were given back
      reserved = reserved + tonumber(string.match(hold, ':(%d+)$'))
    end
  elseif tonumber(found[1]) ~= window then
    spent, reserved = 0, 0
    redis.call('DEL', holds)
  else
    changed = false
    for _, hold in ipairs(redis.call('ZRANGEBYSCORE', holds, '-inf', now)) do
      reserved = reserved - tonumber(string.match(hold, ':(%d+)$'))
      redis.call('ZREM', holds, hold)
      changed = true
    end
  end
  if changed then
    redis.call('HSET', hash, 'window', window, 'spent', text(spent), 'reserved', text(reserved))
    if seconds > 0 then redis.call('EXPIREAT', hash, math.ceil((window + 1) * seconds) + 86400) end
  end
  if amount > 0 and spent + reserved + amount > limit then return {'refused', index, text(spent), text(reserved)} end
  budgets[index] = {hash, holds, amount, spent, reserved + amount}
end
local reply = {'held', string.format('%.6f', now)}
for _, budget in ipairs(budgets) do
  local hash, holds, amount, spent, reserved = unpack(budget)
  if amount > 0 then
    redis.call('HSET', hash, 'reserved', text(reserved))
    redis.call('ZADD', holds, string.format('%.3f', now + tonumber(ARGV[2])), ARGV[1] .. ':' .. text(amount))
    redis.call('EXPIRE', holds, math.ceil(tonumber(ARGV[2])) + 86400)
  end
  table.insert(reply, text(spent))
  table.insert(reply, text(reserved))
end
return reply
