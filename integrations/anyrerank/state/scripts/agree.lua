-- Records that the server has its data, if this process has given back what it knows, and none has recorded it before.
-- KEYS: what exists while the server has its data, set of the processes that have given back. ARGV: id of the process, value.
-- Returns the value that is recorded; nothing if the server has lost its data again.
if redis.call('SISMEMBER', KEYS[2], ARGV[1]) == 1 then redis.call('SET', KEYS[1], ARGV[2], 'NX') end
return redis.call('GET', KEYS[1])
