-- Review open: take an item out of its queues until a reviewer has looked at it.
-- Uses: places
--
-- KEYS  1 ws:reviews  hash item id -> Review   2 ws:reviews:open  zset item id by time   3 ws:item:<id>
-- ARGV  1 item id  2 Review as the caller read it ("" for none)  3 Review to store  4 time (unix seconds)
--       5 reason
-- Returns 1 if it was stored, 0 if somebody else changed the review meanwhile: read it again.
-- Leases in progress may still be answered; what is given back meanwhile stays out while `held` is set.
if (redis.call('HGET', KEYS[1], ARGV[1]) or '') ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
redis.call('ZADD', KEYS[2], 'NX', ARGV[4], ARGV[1])
if redis.call('EXISTS', KEYS[3]) == 1 then
  redis.call('HSET', KEYS[3], 'held', ARGV[5])
  enter(ARGV[1])
end
return 1
