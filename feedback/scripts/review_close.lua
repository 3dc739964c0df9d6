-- Review close: store a reviewer's word on an item; reopened, the item goes back into its queue with the slots left.
-- Uses: places
--
-- KEYS  1 ws:reviews  hash item id -> Review   2 ws:reviews:open  zset   3 ws:item:<id>  4 ws:audit  stream
--       5 ws:adjudications  stream
-- ARGV  1 item id  2 Review as the caller read it  3 Review to store  4 its state: ranked, reopened or discarded
--       5 audit entry  6 Adjudication ("" for none)
-- Returns 1 if it was stored, 0 if somebody else was faster; nothing changes then.
-- An item that was ranked or discarded stays held, so that a lease that ends later does not bring it back.
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('XADD', KEYS[4], '*', 'record', ARGV[5])
if ARGV[6] ~= '' then redis.call('XADD', KEYS[5], '*', 'record', ARGV[6]) end
if redis.call('EXISTS', KEYS[3]) == 0 then return 1 end
if ARGV[4] == 'reopened' then
  redis.call('HDEL', KEYS[3], 'held')
else
  redis.call('HSET', KEYS[3], 'held', ARGV[4])
end
enter(ARGV[1])
return 1
