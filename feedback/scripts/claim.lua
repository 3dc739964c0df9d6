-- Claim: take comparisons that are due for sampling; each is hidden from other samplers for a while.
--
-- KEYS  1 ws:sampling  2 ws:sampling:attempts
-- ARGV  1 now (unix seconds)  2 hidden until (unix seconds)  3 at most this many
-- Returns {id, number of this attempt, id, number, ...}, longest due first.
local claimed = {}
for _, id in ipairs(redis.call('ZRANGE', KEYS[1], '-inf', ARGV[1], 'BYSCORE', 'LIMIT', 0, ARGV[3])) do
  redis.call('ZADD', KEYS[1], ARGV[2], id)
  table.insert(claimed, id)
  table.insert(claimed, redis.call('HINCRBY', KEYS[2], id, 1))
end
return claimed
