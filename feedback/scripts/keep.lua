-- Keep: add a curated prompt unless its text is known or its customer is at the cap.
--
-- KEYS  1 ws:prompts  2 ws:prompts:texts  3 ws:prompts:customers  4 ws:prompts:dropped
--       5 ws:prompts:wanting:comparison  6 ws:prompts:wanting:demonstration
-- ARGV  1 prompt id  2 record (JSON)  3 hash of the text  4 customer  5 most prompts per customer
--       6 "1" if labelers may see it  7 time (unix seconds)
-- Returns "kept", "duplicate" or "customer cap"; the latter two are counted.
-- A prompt that is in the pool already is "kept" again and changes nothing: curation may be repeated after a crash.
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 1 then return 'kept' end
local reason = nil
if redis.call('HEXISTS', KEYS[2], ARGV[3]) == 1 then
  reason = 'duplicate'
elseif tonumber(redis.call('HGET', KEYS[3], ARGV[4]) or '0') >= tonumber(ARGV[5]) then
  reason = 'customer cap'
end
if reason then
  redis.call('HINCRBY', KEYS[4], reason, 1)
  return reason
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('HSET', KEYS[2], ARGV[3], ARGV[1])
redis.call('HINCRBY', KEYS[3], ARGV[4], 1)
if ARGV[6] == '1' then
  redis.call('ZADD', KEYS[5], ARGV[7], ARGV[1])
  redis.call('ZADD', KEYS[6], ARGV[7], ARGV[1])
end
return 'kept'
