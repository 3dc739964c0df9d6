-- Claim: take comparisons that are due for sampling; each is hidden from other samplers for a while.
-- Uses: clock
--
-- KEYS  1 ws:sampling  2 ws:sampling:attempts  3 ws:sampling:claims  4 ws:sampling:token
-- ARGV  1 seconds for which each is hidden  2 at most this many
-- Returns {id, number of this attempt, fencing token, 1 if its last claim was never given back, ...}, longest due first.
local claimed, now = {}, now_s()
for _, id in ipairs(redis.call('ZRANGE', KEYS[1], '-inf', now, 'BYSCORE', 'LIMIT', 0, ARGV[2])) do
  local token = redis.call('INCR', KEYS[4])
  redis.call('ZADD', KEYS[1], string.format('%.6f', now + ARGV[1]), id)
  local abandoned = redis.call('HEXISTS', KEYS[3], id)
  redis.call('HSET', KEYS[3], id, token)
  table.insert(claimed, id)
  table.insert(claimed, redis.call('HINCRBY', KEYS[2], id, 1))
  table.insert(claimed, token)
  table.insert(claimed, abandoned)
end
return claimed
