-- Replaces what was reserved in several budgets by what was spent.
-- KEYS: as for reserve.lua.
-- ARGV: id; then for each budget: seconds of its window, reserved amount, spent amount; then when the reservation was
--       made ('': not known); 1 if the server is known to have made it; last, 1 if this may have run before.
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1e6
local confirmed, repeated = ARGV[#ARGV - 1] == '1', ARGV[#ARGV] == '1'
local made = tonumber(ARGV[#ARGV - 2])
local function text(number) return string.format('%.0f', number) end
for index = 1, #KEYS / 2 do
  local hash, holds = KEYS[2 * index - 1], KEYS[2 * index]
  local seconds, amount = tonumber(ARGV[3 * index - 1]), tonumber(ARGV[3 * index])
  local cost = tonumber(ARGV[3 * index + 1])
  local found = redis.call('HMGET', hash, 'window', 'spent', 'reserved', 'since')
  -- A budget that the server has lost begins with what the ledger knows: until it does, the reservation stays. It ends
  -- soon, as the ledger gets to know the cost in seconds, and from then on it would count twice.
  if not found[1] then
    redis.call('ZADD', holds, 'XX', 'LT', string.format('%.3f', now + 30), ARGV[1] .. ':' .. text(amount))
  end
  local held = found[1] and redis.call('ZREM', holds, ARGV[1] .. ':' .. text(amount)) == 1
  local is_known = made and found[4] and made < tonumber(found[4])  -- the ledger knew the cost when the budget began
  local trace = ARGV[1] .. ':0'
  local due = held or not (repeated or is_known or redis.call('ZSCORE', holds, trace))
  if found[1] and repeated and confirmed and amount > 0 then  -- the first one may still arrive, on an old connection
    redis.call('ZADD', holds, 'NX', now + 900, trace)
    redis.call('EXPIRE', holds, 86400)
  end
  if not confirmed and found[1] then  -- the absence of a reservation does not say that this ran before: leave a trace
    due = redis.call('ZADD', holds, 'NX', now + 900, trace) == 1
    redis.call('EXPIRE', holds, 86400)
  end
  if found[1] and due then
    local window = seconds > 0 and math.floor(now / seconds) or 0
    local spent, reserved = tonumber(found[2]), tonumber(found[3])
    if tonumber(found[1]) ~= window then
      spent, reserved, held = 0, 0, false
      redis.call('DEL', holds)
    end
    if held then reserved = math.max(0, reserved - amount) end
    redis.call('HSET', hash, 'window', window, 'spent', text(spent + cost), 'reserved', text(reserved))
    if seconds > 0 then redis.call('EXPIREAT', hash, math.ceil((window + 1) * seconds) + 86400) end
  end
end
return 1
