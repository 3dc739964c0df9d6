-- Lease: give a labeler the first open item of a queue that they have not seen, until a deadline.
--
-- KEYS  1 ws:queue:<name>   zset  item ids by order of service
--       2 ws:leases         zset  "<item> <labeler>" by deadline
--       3 ws:seen:<labeler> set   items this labeler was given before
-- ARGV  1 labeler  2 deadline (unix seconds)  3 how many candidates to look at
-- Also touches ws:item:<id> (hash: slots, token) and ws:lease:<id> (hash: labeler -> "<token> <deadline>").
-- A slot is taken by the lease, not by the submission, so the overlap is never exceeded.
-- Returns {item id, token}, or {} when nothing is left for this labeler.
local page, offset = 50, 0
local most = tonumber(ARGV[3])
while offset < most do
  local ids = redis.call('ZRANGE', KEYS[1], offset, offset + page - 1)
  if #ids == 0 then return {} end
  for _, id in ipairs(ids) do
    if redis.call('SISMEMBER', KEYS[3], id) == 0 then
      local item = 'ws:item:' .. id
      local slots = redis.call('HINCRBY', item, 'slots', -1)
      if slots <= 0 then redis.call('ZREM', KEYS[1], id) end
      local token = redis.call('HINCRBY', item, 'token', 1)
      redis.call('SADD', KEYS[3], id)
      redis.call('ZADD', KEYS[2], ARGV[2], id .. ' ' .. ARGV[1])
      redis.call('HSET', 'ws:lease:' .. id, ARGV[1], token .. ' ' .. ARGV[2])
      return {id, token}
    end
  end
  offset = offset + page
end
return {}
