-- Log: store an interaction once, however often the relay sends it.
--
-- KEYS  1 ws:interaction:<id>  string   2 ws:interactions  stream
-- ARGV  1 record (JSON)  2 seconds to keep the record  3 id
-- Returns 1 if it was new, 0 if it was there already.
if not redis.call('SET', KEYS[1], ARGV[1], 'NX', 'EX', ARGV[2]) then return 0 end
redis.call('XADD', KEYS[2], '*', 'id', ARGV[3], 'record', ARGV[1])
return 1
