-- Plan: record the wish for a comparison.
--
-- KEYS  1 ws:comparison:<id>  2 ws:sampling       ARGV  1 id  2 record (JSON)  3 now (unix seconds)
redis.call('SET', KEYS[1], ARGV[2])
redis.call('ZADD', KEYS[2], ARGV[3], ARGV[1])
return 1
