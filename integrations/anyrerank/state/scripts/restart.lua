-- If the server was restarted since processes agreed that it has its data, or another one is in its place, then its data may
-- be older: forgets that they agreed, and all that they give back or find in a ledger.
-- KEYS: what exists while the server has its data; its value begins with the run of the server. ARGV: patterns of keys.
-- Returns 1 if something was forgotten.
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
local whole = redis.call('GET', KEYS[1])
if not run or not whole or string.sub(whole, 1, #run) == run then return 0 end
redis.call('DEL', KEYS[1], KEYS[1] .. ':given')
for _, pattern in ipairs(ARGV) do
  local cursor = '0'
  repeat
    local found = redis.call('SCAN', cursor, 'MATCH', pattern, 'COUNT', 1000)
    cursor = found[1]
    for _, key in ipairs(found[2]) do redis.call('UNLINK', key) end
  until cursor == '0'
end
return 1
