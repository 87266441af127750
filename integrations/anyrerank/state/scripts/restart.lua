-- If the server was restarted since processes agreed that it has its data, or if they agreed again on another one since, then
-- its data may be older: forgets that they agreed, and all that they give back or find in a ledger.
-- KEYS: what exists while the server has its data; its value is the run of the server and a number.
-- ARGV: the number that the process knows, patterns of keys.
-- Returns 1 if they have yet to agree.
local info = redis.pcall('INFO', 'server')  -- it may not be allowed
local run = type(info) == 'string' and string.match(info, 'run_id:(%w+)') or ''
local whole = redis.call('GET', KEYS[1])
if not whole then return 1 end
local is_latest = tonumber(string.match(whole, ':(%d+)$') or 0) >= tonumber(ARGV[1])
if is_latest and string.sub(whole, 1, #run) == run then return 0 end
redis.call('DEL', KEYS[1], KEYS[1] .. ':numbers')
for index = 2, #ARGV do
  local cursor = '0'
  repeat
    local found = redis.call('SCAN', cursor, 'MATCH', ARGV[index], 'COUNT', 1000)
    cursor = found[1]
    for _, key in ipairs(found[2]) do redis.call('UNLINK', key) end
  until cursor == '0'
end
return 1
