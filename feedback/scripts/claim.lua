-- Claim: take comparisons that are due for sampling; each is hidden from other samplers for a while.
--
-- KEYS  1 ws:sampling  2 ws:sampling:attempts  3 ws:sampling:claims  4 ws:sampling:token
-- ARGV  1 now (unix seconds)  2 hidden until (unix seconds)  3 at most this many
-- Returns {id, number of this attempt, fencing token, 1 if its last claim was never given back, ...}, longest due first.
local claimed = {}
for _, id in ipairs(redis.call('ZRANGE', KEYS[1], '-inf', ARGV[1], 'BYSCORE', 'LIMIT', 0, ARGV[3])) do
  local token = redis.call('INCR', KEYS[4])
  redis.call('ZADD', KEYS[1], ARGV[2], id)
  local abandoned = redis.call('HEXISTS', KEYS[3], id)
  redis.call('HSET', KEYS[3], id, token)
  table.insert(claimed, id)
  table.insert(claimed, redis.call('HINCRBY', KEYS[2], id, 1))
  table.insert(claimed, token)
  table.insert(claimed, abandoned)
end
return claimed
