-- Canary, end: route nobody to it any more, with its audit entry.
--
-- KEYS  1 ws:canary string Canary   2 ws:audit stream
-- ARGV  1 the canary that is meant (JSON, "" for whichever runs)  2 audit entry (JSON), its `before` filled in here
-- Returns {"ended", the canary (JSON)}, {"none"} if none runs, or {"other"} if another one runs than is meant.
local running = redis.call('GET', KEYS[1])
if not running then return {'none'} end
if ARGV[1] ~= '' and ARGV[1] ~= running then return {'other'} end
local canary, entry = cjson.decode(running), cjson.decode(ARGV[2])
entry.before = string.format('%s at %d %%', canary.version, canary.share)
redis.call('DEL', KEYS[1])
redis.call('XADD', KEYS[2], '*', 'record', cjson.encode(entry))
return {'ended', running}
