-- Promote: move `live` and `previous` together and write the audit entry, only if `live` is what the caller saw.
-- A canary ends with it: what it was compared with answers no more.
--
-- KEYS  1 ws:aliases  hash alias -> version   2 ws:policies hash version -> Policy   3 ws:audit stream
--       4 ws:canary string Canary
-- ARGV  1 version to make live  2 version expected to be live ("" for none)  3 audit entry (JSON)
--       4 audit entry of a canary's end (JSON), its `before` filled in here
-- Returns {"moved"}, {"unknown"} if no such policy, {"same"} if it is live already, or {"raced", actual live}.
if redis.call('HEXISTS', KEYS[2], ARGV[1]) == 0 then return {'unknown'} end
local live = redis.call('HGET', KEYS[1], 'live') or ''
if live == ARGV[1] then return {'same'} end
if live ~= ARGV[2] then return {'raced', live} end
redis.call('HSET', KEYS[1], 'live', ARGV[1])
if live ~= '' then redis.call('HSET', KEYS[1], 'previous', live) end
if redis.call('HGET', KEYS[1], 'candidate') == ARGV[1] then redis.call('HDEL', KEYS[1], 'candidate') end
local running = redis.call('GET', KEYS[4])
if running then
  local canary, entry = cjson.decode(running), cjson.decode(ARGV[4])
  entry.before = string.format('%s at %d %%', canary.version, canary.share)
  redis.call('DEL', KEYS[4])
  redis.call('XADD', KEYS[3], '*', 'record', cjson.encode(entry))
end
redis.call('XADD', KEYS[3], '*', 'record', ARGV[3])
return {'moved'}
