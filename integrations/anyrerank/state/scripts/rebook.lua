-- Moves on what is due in a limit of book.lua, or back.
-- KEYS: as for book.lua. ARGV: microseconds for requests, and for tokens; last, 1 if this may have run before: then nothing
-- is changed.
local key = KEYS[1]
if ARGV[3] == '1' or redis.call('EXISTS', key) == 0 then return 0 end
redis.call('HINCRBY', key, 'r', ARGV[1])
redis.call('HINCRBY', key, 't', ARGV[2])
return 1
