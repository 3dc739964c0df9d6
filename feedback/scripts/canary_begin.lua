-- Canary, begin: route a share of the callers to a policy, or change the running one's share, with its audit entry.
--
-- KEYS  1 ws:canary string Canary   2 ws:policies hash version -> Policy   3 ws:aliases hash alias -> version
--       4 ws:audit stream
-- ARGV  1 version  2 Canary (JSON)  3 audit entry (JSON), its `before` filled in here
-- Returns {"begun"}, {"unknown"} if no such policy, {"live"} if it is live, or {"taken", the canary that runs}.
if redis.call('HEXISTS', KEYS[2], ARGV[1]) == 0 then return {'unknown'} end
if redis.call('HGET', KEYS[3], 'live') == ARGV[1] then return {'live'} end
local entry = cjson.decode(ARGV[3])
local running = redis.call('GET', KEYS[1])
if running then
  local canary = cjson.decode(running)
  if canary.version ~= ARGV[1] then return {'taken', canary.version} end
  entry.before = string.format('%s at %d %%', canary.version, canary.share)
end
redis.call('SET', KEYS[1], ARGV[2])
redis.call('XADD', KEYS[4], '*', 'record', cjson.encode(entry))
return {'begun'}
