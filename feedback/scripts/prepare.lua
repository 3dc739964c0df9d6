-- Prepare: store a copy of a comparison as a check for one labeler, and put it on their list.
--
-- KEYS  1 ws:comparison:<copy>  2 ws:item:<copy>  3 ws:checks:<labeler> list   4 ws:comparison:<original>
-- ARGV  1 id of the copy  2 the copy (JSON)  3 score  4 most checks that wait for a labeler
-- Returns 1, or 0 if the original is gone (erased), the list is full or the id is taken; nothing changes then.
if redis.call('EXISTS', KEYS[4]) == 0 or redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
if redis.call('LLEN', KEYS[3]) >= tonumber(ARGV[4]) then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
redis.call('HSET', KEYS[2], 'queue', 'checks', 'slots', 1, 'score', ARGV[3], 'token', 0, 'labels', 0)
redis.call('RPUSH', KEYS[3], ARGV[1])
return 1
