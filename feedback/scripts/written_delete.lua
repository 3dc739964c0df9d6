-- Written delete: its writer takes a prompt away that nobody has accepted, with all of its revisions.
--
-- KEYS  1 ws:written  2 ws:written:<id>:log  3 ws:written:of:<labeler>  4 ws:written:submitted
-- ARGV  1 id  2 WrittenPrompt as the caller read it
-- Returns 1 if it is gone, 0 if it changed meanwhile.
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('DEL', KEYS[2])
redis.call('ZREM', KEYS[3], ARGV[1])
redis.call('ZREM', KEYS[4], ARGV[1])
return 1
