-- Erase item: a comparison or a request for a demonstration, with all that queues, leases or samples it.
--
-- KEYS  1 ws:comparison:<id>  2 ws:item:<id>  3 ws:lease:<id>  4 ws:leases  5 ws:sampling  6 ws:sampling:attempts
--       7 ws:erased:comparisons  8 ws:sampling:claims
-- ARGV  1 id
-- Returns 1 if something was there. A labeler who holds it finds the lease lost; a sampler finds nothing to complete.
local queue = redis.call('HGET', KEYS[2], 'queue')
if queue then redis.call('ZREM', 'ws:queue:' .. queue, ARGV[1]) end
for _, labeler in ipairs(redis.call('HKEYS', KEYS[3])) do
  redis.call('ZREM', KEYS[4], ARGV[1] .. ' ' .. labeler)
end
redis.call('ZREM', KEYS[5], ARGV[1])
redis.call('HDEL', KEYS[6], ARGV[1])
redis.call('HDEL', KEYS[8], ARGV[1])
if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('SADD', KEYS[7], ARGV[1]) end
local gone = redis.call('DEL', KEYS[1], KEYS[2], KEYS[3])
if gone > 0 then return 1 end
return 0
