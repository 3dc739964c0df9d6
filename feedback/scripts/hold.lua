-- Hold: take or renew a single-holder lock.
--
-- KEYS  1 lock      ARGV  1 holder's token  2 seconds to live
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
return 1
