-- Put back: append an answer that the ledger lost, from its second copy, with all by which it is known again.
--
-- KEYS  1 stream  2 ws:submission:<id>  3 ws:answers:<item>  4 ws:answered:<labeler>  5 ws:revised:<stream>
-- ARGV  1 its old entry, or "" if unknown  2 record (JSON)  3 item, or "" if it was no labeler's submission  4 labeler
--       5 digest of what was answered  6 submission id  7 id of the first answer  8 revision
--       9 seconds to remember the submission
-- Returns the entry: the old one where the stream has not gone past it.
local entry = ARGV[1] ~= '' and redis.pcall('XADD', KEYS[1], ARGV[1], 'record', ARGV[2]) or {err = 'unknown'}
if type(entry) == 'table' then entry = redis.call('XADD', KEYS[1], '*', 'record', ARGV[2]) end
if ARGV[8] ~= '0' then redis.call('INCR', KEYS[5]) end
if ARGV[3] == '' then return entry end
local known = table.concat({entry .. ' ' .. ARGV[3] .. ' ' .. ARGV[4], KEYS[1], ARGV[5], ''}, '\n')
redis.call('SET', KEYS[2], known, 'EX', ARGV[9])
redis.call('RPUSH', KEYS[3], KEYS[1] .. ' ' .. entry .. ' ' .. ARGV[7] .. ' ' .. ARGV[8])
if ARGV[8] == '0' then redis.call('ZADD', KEYS[4], string.match(entry, '^%d+'), ARGV[6]) end
return entry
