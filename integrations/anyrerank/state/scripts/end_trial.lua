-- Records how a call at a deployment that had failed ended; after an answer it works again for all replicas.
-- KEYS: hash of all cooldowns, trial of the deployment.
-- ARGV: channel, name of the deployment, id of the trial ('' for a call that is none), 1 if it answered; last, 1 if this
--       may have run before.
local answered = ARGV[4] == '1'
if answered or redis.call('GET', KEYS[2]) == ARGV[3] then redis.call('DEL', KEYS[2]) end
if answered and redis.call('HDEL', KEYS[1], ARGV[2]) == 1 then
  redis.call('PUBLISH', ARGV[1], cjson.encode({deployment = ARGV[2], cooling = 0, retry = 0, half_open = false}))
end
return 1
