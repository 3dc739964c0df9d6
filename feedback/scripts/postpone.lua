-- Postpone: end a claim and make its comparison due at a later time.
-- Uses: clock
--
-- KEYS  1 ws:sampling  2 ws:sampling:attempts  3 ws:sampling:claims
-- ARGV  1 id  2 fencing token  3 seconds until it is due  4 "1" if the last attempt does not count
-- Returns 1 if it was postponed, 0 if the claim is not the newest or the comparison waits for completions no more.
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) then return 0 end
if redis.call('HGET', KEYS[3], ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('HDEL', KEYS[3], ARGV[1])
redis.call('ZADD', KEYS[1], string.format('%.6f', now_s() + ARGV[3]), ARGV[1])
if ARGV[4] == '1' then redis.call('HINCRBY', KEYS[2], ARGV[1], -1) end
return 1
