-- Written save: store one revision of a written prompt, if it follows on the one that its writer or reviewer saw.
--
-- KEYS  1 ws:written  hash id -> WrittenPrompt   2 ws:written:<id>:log  stream   3 ws:written:of:<labeler>  zset
--       4 ws:written:submitted  zset
-- ARGV  1 id  2 WrittenPrompt as the caller read it ("" for none)  3 the new revision  4 its state
--       5 time (unix seconds)
-- Returns 1 if it was stored, 0 if it changed meanwhile: nothing is stored then.
if (redis.call('HGET', KEYS[1], ARGV[1]) or '') ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
redis.call('XADD', KEYS[2], 'MAXLEN', '2000', '*', 'record', ARGV[3])
redis.call('ZADD', KEYS[3], 'NX', ARGV[5], ARGV[1])
if ARGV[4] == 'submitted' then
  redis.call('ZADD', KEYS[4], ARGV[5], ARGV[1])
else
  redis.call('ZREM', KEYS[4], ARGV[1])
end
return 1
