-- Disagree: note on how much reward models disagree about an item, so that labelers may be given it sooner.
-- Uses: places
--
-- KEYS  1 ws:item:<id>    ARGV  1 id  2 figure in [0, 1]
-- Returns 1 if the item is there, 0 if not.
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], 'disagreement', ARGV[2])
enter(ARGV[1])
return 1
