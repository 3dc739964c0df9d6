-- Erase item: a comparison or a request for a demonstration, with all that queues, leases or samples it.
-- Uses: places
--
-- KEYS  1 ws:comparison:<id>  2 ws:item:<id>  3 ws:lease:<id>  4 ws:leases  5 ws:sampling  6 ws:sampling:attempts
--       7 ws:erased:comparisons  8 ws:sampling:claims  9 ws:skips:<id>
-- ARGV  1 id
-- Returns 1 if something was there. A labeler who holds it finds the lease lost; a sampler finds nothing to complete.
local queue = redis.call('HGET', KEYS[2], 'queue')
if queue then leave(queue, ARGV[1]) end
for _, labeler in ipairs(redis.call('HKEYS', KEYS[3])) do
  redis.call('ZREM', KEYS[4], ARGV[1] .. ' ' .. labeler)
  redis.call('HDEL', 'ws:holding:' .. labeler, ARGV[1])
end
redis.call('ZREM', KEYS[5], ARGV[1])
redis.call('HDEL', KEYS[6], ARGV[1])
redis.call('HDEL', KEYS[8], ARGV[1])
if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('SADD', KEYS[7], ARGV[1]) end
redis.call('DEL', KEYS[9])
redis.call('HDEL', 'ws:reviews', ARGV[1])
redis.call('ZREM', 'ws:reviews:open', ARGV[1])
for _, labeler in ipairs(redis.call('SMEMBERS', 'ws:drafts:' .. ARGV[1])) do
  redis.call('DEL', 'ws:draft:' .. labeler .. ':' .. ARGV[1])
end
redis.call('DEL', 'ws:drafts:' .. ARGV[1], 'ws:answers:' .. ARGV[1])
local gone = redis.call('DEL', KEYS[1], KEYS[2], KEYS[3])
if gone > 0 then return 1 end
return 0
