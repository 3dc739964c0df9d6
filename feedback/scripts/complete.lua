-- Complete: store a comparison's completions and open it to labelers, once, by the holder of the newest claim.
--
-- KEYS  1 ws:comparison:<id>  2 ws:sampling  3 ws:sampling:attempts  4 ws:sampling:claims  5 ws:item:<id>
--       6 ws:queue:<name>
-- ARGV  1 id  2 fencing token, "0" if nobody claimed it  3 record with completions (JSON)
--       4 queue name, or "" to store it and ask nobody  5 slots  6 score  7 authors, one per line
-- Returns 1 if this call completed it, 0 if it waits for completions no more or somebody claimed it since.
if not redis.call('ZSCORE', KEYS[2], ARGV[1]) then return 0 end
if (redis.call('HGET', KEYS[4], ARGV[1]) or '0') ~= ARGV[2] then return 0 end
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('HDEL', KEYS[3], ARGV[1])
redis.call('HDEL', KEYS[4], ARGV[1])
redis.call('SET', KEYS[1], ARGV[3])
if ARGV[4] == '' then return 1 end
redis.call('HSET', KEYS[5], 'queue', ARGV[4], 'slots', ARGV[5], 'score', ARGV[6], 'token', 0, 'labels', 0)
if ARGV[7] ~= '' then redis.call('HSET', KEYS[5], 'authors', ARGV[7]) end
redis.call('ZADD', KEYS[6], ARGV[6], ARGV[1])
return 1
