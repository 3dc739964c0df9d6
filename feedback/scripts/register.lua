-- Register: add a policy and point `candidate` at it, unless its version is taken.
-- Uses: fence
--
-- KEYS  1 ws:policies hash version -> Policy   2 ws:aliases hash alias -> version   3 ws:rounds:fence string
-- ARGV  1 version  2 record (JSON)  3 writer's number, 0 for none
-- Returns 1 if the policy is in the registry, also by an earlier call with the same record, 0 if the version is taken,
-- -1 if the writer was superseded.
if fenced(KEYS[3], ARGV[3]) then return -1 end
if redis.call('HSETNX', KEYS[1], ARGV[1], ARGV[2]) == 0 then
  return redis.call('HGET', KEYS[1], ARGV[1]) == ARGV[2] and 1 or 0
end
redis.call('HSET', KEYS[2], 'candidate', ARGV[1])
return 1
