-- Renew: move the deadline of a live lease (heartbeat).
--
-- KEYS  1 ws:lease:<item>  2 ws:leases
-- ARGV  1 item  2 labeler  3 token  4 new deadline (unix seconds)  5 now (unix seconds)
-- Returns 1 if renewed, 0 if the lease is gone, expired or newer.
local lease = redis.call('HGET', KEYS[1], ARGV[2])
if not lease then return 0 end
local token, deadline = string.match(lease, '^(%d+) ([%d%.]+)$')
if token ~= ARGV[3] or tonumber(deadline) < tonumber(ARGV[5]) then return 0 end
redis.call('HSET', KEYS[1], ARGV[2], token .. ' ' .. ARGV[4])
redis.call('ZADD', KEYS[2], ARGV[4], ARGV[1] .. ' ' .. ARGV[2])
return 1
