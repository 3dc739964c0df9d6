-- Revise: append a correction of an answer while it may still be corrected; what it corrects stays as it is.
--
-- KEYS  1 ws:submission:<first id>  string  "<entry> <item> <labeler>", stream, digest, queue; a line each
--       2 ws:submission:<id>        string  the same of this correction, if it was sent before
--       3 ws:labels or ws:demonstrations    stream, append-only
--       4 ws:answers:<item>         list    "<stream> <entry> <first id> <revision>"
--       5 ws:revised:<stream>       string  how many entries of the stream are corrections
-- ARGV  1 item  2 labeler  3 record (JSON)  4 seconds to remember the submission  5 now (unix seconds; "" for this
--       server's clock)  6 digest of what was answered  7 first id  8 revision  9 seconds in which it may be corrected
-- Returns {"again", entry} for a repeated one, {"taken", entry}, {"clash", entry} if the id was used for something else,
-- {"late", entry}, {"stale", latest revision} or {"none", ""}; all but the second change nothing.
local me = ARGV[1] .. ' ' .. ARGV[2]
local mine = me .. '\n' .. KEYS[3] .. '\n' .. ARGV[6]
local before = redis.call('GET', KEYS[2])
if before then
  local entry, rest = string.match(before, '^(%S+) (.*)$')
  return {rest == mine and 'again' or 'clash', entry}
end
local first = redis.call('GET', KEYS[1])
if not first then return {'none', ''} end
local entry, owner = string.match(first, '^(%S+) ([^\n]*)')
if owner ~= me then return {'none', ''} end
local now = tonumber(ARGV[5])
if not now then
  local time = redis.call('TIME')
  now = time[1] + time[2] / 1000000
end
if tonumber(string.match(entry, '^%d+')) / 1000 + tonumber(ARGV[9]) < now then return {'late', entry} end
local latest = 0
for _, member in ipairs(redis.call('LRANGE', KEYS[4], 0, -1)) do
  local id, revision = string.match(member, '^%S+ %S+ (%S+) (%d+)$')
  if id == ARGV[7] then latest = math.max(latest, tonumber(revision)) end
end
if latest + 1 ~= tonumber(ARGV[8]) then return {'stale', tostring(latest)} end
local added = redis.call('XADD', KEYS[3], '*', 'record', ARGV[3])
redis.call('SET', KEYS[2], added .. ' ' .. mine, 'EX', ARGV[4])
redis.call('RPUSH', KEYS[4], KEYS[3] .. ' ' .. added .. ' ' .. ARGV[7] .. ' ' .. ARGV[8])
redis.call('INCR', KEYS[5])
return {'taken', added}
