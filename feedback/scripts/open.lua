-- Open: put an item into a queue, once.
-- Uses: places
--
-- KEYS  1 ws:item:<id>
-- ARGV  1 id  2 queue name  3 slots  4 score (lower is served first)  5 authors, one a line
-- Returns 1 if it was opened, 0 if it was open already.
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('HSET', KEYS[1], 'queue', ARGV[2], 'slots', ARGV[3], 'score', ARGV[4], 'token', 0, 'labels', 0)
if ARGV[5] ~= '' then redis.call('HSET', KEYS[1], 'authors', ARGV[5]) end
enter(ARGV[1])
return 1
