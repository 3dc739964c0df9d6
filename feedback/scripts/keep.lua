-- Keep: add a curated prompt unless it repeats a kept one or its customer is at the cap.
--
-- KEYS  1 ws:prompts  2 ws:prompts:beginnings  3 ws:prompts:customers  4 ws:prompts:dropped
--       5 ws:prompts:wanting:comparison  6 ws:prompts:wanting:demonstration
-- ARGV  1 prompt id  2 record (JSON)  3 probe: what the entry of a prompt that it repeats begins with  4 its own entry
--       5 customer  6 most prompts per customer  7 "1" if labelers may see it  8 time (unix seconds)
-- Returns "kept", "duplicate" or "customer cap"; the latter two are counted.
-- A prompt that is in the pool already is "kept" again and changes nothing: curation may be repeated after a crash.
-- Entries all have score 0, so that they stand in the order of their bytes, which in UTF-8 is that of the characters.
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 1 then return 'kept' end
local reason = nil
if #redis.call('ZRANGE', KEYS[2], '[' .. ARGV[3], '(' .. ARGV[3] .. '\255', 'BYLEX', 'LIMIT', 0, 1) == 1 then
  reason = 'duplicate'
elseif tonumber(redis.call('HGET', KEYS[3], ARGV[5]) or '0') >= tonumber(ARGV[6]) then
  reason = 'customer cap'
end
if reason then
  redis.call('HINCRBY', KEYS[4], reason, 1)
  return reason
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('ZADD', KEYS[2], 0, ARGV[4])
redis.call('HINCRBY', KEYS[3], ARGV[5], 1)
if ARGV[7] == '1' then
  redis.call('ZADD', KEYS[5], ARGV[8], ARGV[1])
  redis.call('ZADD', KEYS[6], ARGV[8], ARGV[1])
end
return 'kept'
