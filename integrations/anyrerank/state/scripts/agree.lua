-- Whether a value is that of other processes, or the first one; it is then remembered. KEYS: a string. ARGV: value, seconds.
local known = redis.call('GET', KEYS[1])
if known and known ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
return 1
