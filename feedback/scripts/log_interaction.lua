-- Log interaction: once, however often the relay sends it, unless its customer was erased since.
--
-- KEYS  1 ws:interaction:<id>  2 ws:interactions  3 ws:interactions:of:<customer>  4 ws:erased
-- ARGV  1 record (JSON)  2 seconds to keep the record  3 id  4 customer  5 when it was made (unix seconds)
-- Returns 1 if it was new, 0 if it was there already, -1 if its customer was erased after it was made.
-- What may fail (a key of a wrong type) comes before what is logged, so that a failure leaves nothing half done.
local erased = redis.call('HGET', KEYS[4], ARGV[4])
if erased and tonumber(ARGV[5]) <= tonumber(erased) then return -1 end
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('ZADD', KEYS[3], ARGV[5], ARGV[3])
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', tonumber(ARGV[5]) - 2 * tonumber(ARGV[2]))
redis.call('EXPIRE', KEYS[3], 2 * tonumber(ARGV[2]))
redis.call('XADD', KEYS[2], '*', 'id', ARGV[3], 'record', ARGV[1])
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
return 1
