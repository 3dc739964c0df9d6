-- Release: end a lease without an answer and put the slot back.
-- Uses: places
--
-- KEYS  1 ws:lease:<item>  2 ws:skips:<item>
-- ARGV  1 item  2 labeler  3 token  4 why they skip it (JSON), "" if they only hand it back
--       and may be offered it again  5 now (unix seconds), or "" for the ledger's own clock
-- Returns how many different labelers have skipped the item, or -1 if there is no such lease.
local lease = redis.call('HGET', KEYS[1], ARGV[2])
if not lease or string.match(lease, '^%d+') ~= ARGV[3] then return -1 end
give_back(ARGV[1], ARGV[2], ARGV[4] == '', clock(ARGV[5]))
if ARGV[4] ~= '' then redis.call('HSET', KEYS[2], ARGV[2], ARGV[4]) end
return redis.call('HLEN', KEYS[2])
