-- Renew: move the deadline of a live lease (heartbeat).
-- Uses: places
--
-- KEYS  1 ws:lease:<item>  2 ws:leases  3 ws:holding:<labeler>
-- ARGV  1 item  2 labeler  3 token  4 seconds, or "" for as many as it was leased for
--       5 now (unix seconds), or "" for the ledger's own clock
-- Returns the new deadline (unix seconds), or "" if the lease is gone, expired or newer.
local lease = redis.call('HGET', KEYS[1], ARGV[2])
if not lease then return '' end
local now = clock(ARGV[5])
local token, deadline, rest = string.match(lease, '^(%d+) (%S+)(.*)$')
if token ~= ARGV[3] or tonumber(deadline) < now then return '' end
local seconds = ARGV[4]
if seconds == '' then seconds = string.match(redis.call('HGET', KEYS[3], ARGV[1]) or '1200', '^%S+') end
deadline = string.format('%.3f', now + tonumber(seconds))
redis.call('HSET', KEYS[1], ARGV[2], token .. ' ' .. deadline .. rest)
redis.call('ZADD', KEYS[2], deadline, ARGV[1] .. ' ' .. ARGV[2])
return deadline
