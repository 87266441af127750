-- Records that a process is there, and forgets those that have not said so for too long.
-- KEYS: a hash: by the id of a process, until when it is there, and its text.
-- ARGV: id, text, seconds; 0 only asks.
-- Returns the texts of the other processes.
local now = tonumber(redis.call('TIME')[1])
local found = redis.call('HGETALL', KEYS[1])
local others = {}
for index = 1, #found, 2 do
  local ends, text = string.match(found[index + 1], '^(%d+) (.*)$')
  if tonumber(ends) < now then
    redis.call('HDEL', KEYS[1], found[index])
  elseif found[index] ~= ARGV[1] then
    table.insert(others, text)
  end
end
if ARGV[3] ~= '0' then
  redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f ', now + ARGV[3]) .. ARGV[2])
  redis.call('EXPIRE', KEYS[1], ARGV[3])
end
return others
