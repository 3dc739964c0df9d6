-- Plan: record the wish for a comparison, once.
-- Uses: clock
--
-- KEYS  1 ws:comparison:<id>  2 ws:sampling       ARGV  1 id  2 record (JSON)  3 seconds by which it is due earlier
-- Returns 1 if it was new, 0 if this comparison was planned before; nothing changes then.
if not redis.call('SET', KEYS[1], ARGV[2], 'NX') then return 0 end
redis.call('ZADD', KEYS[2], string.format('%.6f', now_s() - ARGV[3]), ARGV[1])
return 1
