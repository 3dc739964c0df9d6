-- Release: end a lease without an answer (skip or expiry) and put the slot back into its queue.
--
-- KEYS  1 ws:lease:<item>  2 ws:leases  3 ws:item:<item>  4 ws:seen:<labeler>
-- ARGV  1 item  2 labeler  3 token, or "" for any  4 "forget" if the item may be offered to this labeler again
--       5 release only if the deadline is at or before this unix time ("" for always)
-- Returns 1 if the lease was ended, 0 if it was not there, newer, or still running.
local lease = redis.call('HGET', KEYS[1], ARGV[2])
if not lease then
  redis.call('ZREM', KEYS[2], ARGV[1] .. ' ' .. ARGV[2])
  return 0
end
local token, deadline = string.match(lease, '^(%d+) ([%d%.]+)$')
if ARGV[3] ~= '' and token ~= ARGV[3] then return 0 end
if ARGV[5] ~= '' and tonumber(deadline) > tonumber(ARGV[5]) then return 0 end
redis.call('HDEL', KEYS[1], ARGV[2])
redis.call('ZREM', KEYS[2], ARGV[1] .. ' ' .. ARGV[2])
redis.call('HINCRBY', KEYS[3], 'slots', 1)
if ARGV[4] == 'forget' then redis.call('SREM', KEYS[4], ARGV[1]) end
local queue = redis.call('HGET', KEYS[3], 'queue')
local score = redis.call('HGET', KEYS[3], 'score')
redis.call('ZADD', 'ws:queue:' .. queue, score, ARGV[1])
return 1
