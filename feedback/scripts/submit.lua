-- Submit: append a label or demonstration under a live lease, and close the lease. Idempotent by submission id.
--
-- KEYS  1 ws:lease:<item>     hash   labeler -> "<token> <deadline>"
--       2 ws:leases           zset   "<item> <labeler>" by deadline
--       3 ws:item:<item>      hash   labels = how many answers were taken
--       4 ws:submission:<id>  string "<entry> <item> <labeler>" of the answer given before, if any
--       5 ws:labels or ws:demonstrations  stream, append-only
-- ARGV  1 item  2 labeler  3 token  4 record (JSON)  5 seconds to remember the submission  6 now (unix seconds)
-- Returns {"again", entry} for a repeated submission, {"taken", entry}, {"lost", why}, or {"clash", entry} if
-- the submission id was used for another item or by somebody else; the latter two change nothing.
local before = redis.call('GET', KEYS[4])
if before then
  local entry, owner = string.match(before, '^(%S+) (.*)$')
  if owner == ARGV[1] .. ' ' .. ARGV[2] then return {'again', entry} end
  return {'clash', entry}
end
local lease = redis.call('HGET', KEYS[1], ARGV[2])
if not lease then return {'lost', 'no lease'} end
local token, deadline = string.match(lease, '^(%d+) ([%d%.]+)$')
if token ~= ARGV[3] then return {'lost', 'a newer lease exists'} end
if tonumber(deadline) < tonumber(ARGV[6]) then return {'lost', 'the lease expired'} end
local entry = redis.call('XADD', KEYS[5], '*', 'record', ARGV[4])
redis.call('SET', KEYS[4], entry .. ' ' .. ARGV[1] .. ' ' .. ARGV[2], 'EX', ARGV[5])
redis.call('HDEL', KEYS[1], ARGV[2])
redis.call('ZREM', KEYS[2], ARGV[1] .. ' ' .. ARGV[2])
redis.call('HINCRBY', KEYS[3], 'labels', 1)
return {'taken', entry}
