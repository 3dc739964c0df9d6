-- Bury: move a comparison that cannot be sampled to the dead letters, and count why.
--
-- KEYS  1 ws:sampling  2 ws:sampling:attempts  3 ws:sampling:claims  4 ws:dead  5 ws:sampling:buried
-- ARGV  1 id  2 fencing token, "0" if nobody claimed it  3 reason  4 detail
-- Returns 1 if it was buried, 0 if it waits for completions no more or somebody claimed it since.
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) then return 0 end
if (redis.call('HGET', KEYS[3], ARGV[1]) or '0') ~= ARGV[2] then return 0 end
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('HDEL', KEYS[2], ARGV[1])
redis.call('HDEL', KEYS[3], ARGV[1])
redis.call('XADD', KEYS[4], 'MAXLEN', '~', 10000, '*', 'id', ARGV[1], 'reason', ARGV[3], 'detail', ARGV[4])
redis.call('HINCRBY', KEYS[5], ARGV[3], 1)
return 1
