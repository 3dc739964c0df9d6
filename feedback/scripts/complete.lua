-- Complete: store a comparison's completions and open it to labelers, once, whichever attempt comes first.
--
-- KEYS  1 ws:comparison:<id>  2 ws:sampling  3 ws:sampling:attempts  4 ws:item:<id>  5 ws:queue:<name>
-- ARGV  1 id  2 record with completions (JSON)  3 queue name  4 slots  5 score
-- Returns 1 if this call completed it, 0 if it is not waiting for completions.
if redis.call('ZREM', KEYS[2], ARGV[1]) == 0 then return 0 end
redis.call('HDEL', KEYS[3], ARGV[1])
redis.call('SET', KEYS[1], ARGV[2])
redis.call('HSET', KEYS[4], 'queue', ARGV[3], 'slots', ARGV[4], 'score', ARGV[5], 'token', 0, 'labels', 0)
redis.call('ZADD', KEYS[5], ARGV[5], ARGV[1])
return 1
