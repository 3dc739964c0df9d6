-- Postpone: make a comparison without completions due at a later time.
--
-- KEYS  1 ws:sampling  2 ws:sampling:attempts
-- ARGV  1 id  2 due (unix seconds)  3 "1" if the last attempt does not count
-- Returns 1 if it was postponed, 0 if it is not waiting for completions.
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) then return 0 end
redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
if ARGV[3] == '1' then redis.call('HINCRBY', KEYS[2], ARGV[1], -1) end
return 1
