-- Records that the server has its data, if this process has given back what it knows, and none has recorded it before.
-- KEYS: what exists while the server has its data; a hash: by the id of each process that has given back, a number.
-- ARGV: id of the process, run of the server.
-- Returns the value that is recorded; nothing if the server has lost its data again.
if redis.call('HEXISTS', KEYS[2], ARGV[1]) == 1 then
  local number = 0
  for _, each in ipairs(redis.call('HVALS', KEYS[2])) do number = math.max(number, tonumber(each)) end
  redis.call('SET', KEYS[1], ARGV[2] .. ':' .. string.format('%.0f', number), 'NX')
end
return redis.call('GET', KEYS[1])
