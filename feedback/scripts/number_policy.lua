-- Number policy: give the next policy version to a round, once: the number and the round's record change together.
-- Uses: fence
--
-- KEYS  1 ws:rounds:fence string   2 ws:policies:counter string   3 ws:rounds hash round id -> Round
-- ARGV  1 writer's number  2 count of versions that the caller saw  3 round id  4 its record with the version (JSON)
-- Returns {"done"}, {"fenced"} if a newer trainer took over, or {"raced", count} if somebody else took that number.
if fenced(KEYS[1], ARGV[1]) then return {'fenced'} end
local count = redis.call('GET', KEYS[2]) or '0'
if count ~= ARGV[2] then return {'raced', count} end
redis.call('INCR', KEYS[2])
redis.call('HSET', KEYS[3], ARGV[3], ARGV[4])
return {'done'}
