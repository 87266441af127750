-- Stores values.
-- ARGV: what keys begin with; milliseconds until the values expire, or 0 for no limit; a MessagePack array of keys, each
-- followed by its value. Two long arguments take a client far less time than two for each value.
local start, ttl, entries = ARGV[1], ARGV[2], cmsgpack.unpack(ARGV[3])
for index = 1, #entries, 2 do
  if ttl == '0' then
    redis.call('SET', start .. entries[index], entries[index + 1])
  else
    redis.call('SET', start .. entries[index], entries[index + 1], 'PX', ttl)
  end
end
return #entries / 2
