-- The values of keys, or nil.
-- ARGV: what keys begin with; a MessagePack array of keys.
local start, keys, values = ARGV[1], cmsgpack.unpack(ARGV[2]), {}
for index, key in ipairs(keys) do keys[index] = start .. key end
for first = 1, #keys, 1000 do  -- Lua cannot pass many thousands of arguments at once
  for _, value in ipairs(redis.call('MGET', unpack(keys, first, math.min(first + 999, #keys)))) do
    values[#values + 1] = value
  end
end
return values
