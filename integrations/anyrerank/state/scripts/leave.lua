-- Counts a request as finished. KEYS: as for enter.lua. ARGV: id; last, 1 if this may have run before.
return redis.call('ZREM', KEYS[1], ARGV[1])
