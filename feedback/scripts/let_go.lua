-- Let go: give a single-holder lock back, if this holder still has it.
--
-- KEYS  1 lock      ARGV  1 holder's token
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
