-- Submit: append an answer under a live lease, once per submission id; the lease ends with it unless it is to be kept.
--
-- KEYS  1 ws:lease:<item>      hash   labeler -> "<token> <deadline> ..."
--       2 ws:leases            zset   "<item> <labeler>" by deadline
--       3 ws:item:<item>       hash   labels = how many answers were taken; wrote:<labeler> = their demonstration
--       4 ws:submission:<id>   string "<entry> <item> <labeler>", stream, digest, queue; a line each
--       5 ws:labels or ws:demonstrations  stream, append-only
--       6 ws:answers:<item>    list   "<stream> <entry> <first id> <revision>"
--       7 ws:answered:<labeler> zset  ids of their submissions, by time
--       8 ws:draft:<labeler>:<item>  string    9 ws:drafts:<item>  set of labelers   10 ws:holding:<labeler>  hash
-- ARGV  1 item  2 labeler  3 token  4 record (JSON)  5 seconds to remember the submission
--       6 now (unix seconds; "" for this server's clock)  7 digest of what was answered  8 submission id
--       9 "keep" to let the lease live on (one such answer per item and labeler), else "end"
-- Returns {"again", entry} for a repeated submission, {"taken", entry}, {"lost", why}, or {"clash", entry} if the id was
-- used for another answer or by somebody else; the latter two change nothing.
local KEPT = 200
local me = ARGV[1] .. ' ' .. ARGV[2]
local before = redis.call('GET', KEYS[4])
if before then
  local entry, owner, stream, digest = string.match(before, '^(%S+) ([^\n]*)\n?([^\n]*)\n?([^\n]*)')
  local same = stream == '' or (stream == KEYS[5] and digest == ARGV[7])
  if owner == me and same then return {'again', entry} end
  return {'clash', entry}
end
local lease = redis.call('HGET', KEYS[1], ARGV[2])
if not lease then return {'lost', 'no lease'} end
local token, deadline = string.match(lease, '^(%d+) ([%d%.]+)')
local now = tonumber(ARGV[6])
if not now then
  local time = redis.call('TIME')
  now = time[1] + time[2] / 1000000
end
if token ~= ARGV[3] then return {'lost', 'a newer lease exists'} end
if tonumber(deadline) < now then return {'lost', 'the lease expired'} end
local wrote = 'wrote:' .. ARGV[2]
if ARGV[9] == 'keep' then
  local other = redis.call('HGET', KEYS[3], wrote)
  if other then return {'clash', other} end
end
local entry = redis.call('XADD', KEYS[5], '*', 'record', ARGV[4])
local queue = string.match(redis.call('HGET', KEYS[10], ARGV[1]) or '', '%S*$')
redis.call('SET', KEYS[4], table.concat({entry .. ' ' .. me, KEYS[5], ARGV[7], queue}, '\n'), 'EX', ARGV[5])
redis.call('RPUSH', KEYS[6], KEYS[5] .. ' ' .. entry .. ' ' .. ARGV[8] .. ' 0')
redis.call('ZADD', KEYS[7], string.match(entry, '^%d+'), ARGV[8])
redis.call('ZREMRANGEBYRANK', KEYS[7], 0, -KEPT - 1)
if ARGV[9] == 'keep' then
  redis.call('HSET', KEYS[3], wrote, entry)
  return {'taken', entry}
end
redis.call('HDEL', KEYS[1], ARGV[2])
redis.call('HDEL', KEYS[10], ARGV[1])
redis.call('ZREM', KEYS[2], me)
redis.call('HINCRBY', KEYS[3], 'labels', 1)
if redis.call('DEL', KEYS[8]) == 1 then redis.call('SREM', KEYS[9], ARGV[2]) end
return {'taken', entry}
