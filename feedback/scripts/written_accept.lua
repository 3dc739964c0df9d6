-- Written accept: a reviewer accepts a written prompt: all of its training items enter the pool, or none does.
--
-- KEYS  1 ws:written  2 ws:written:<id>:log  3 ws:written:submitted  4 ws:prompts  5 ws:prompts:beginnings
--       6 ws:prompts:customers  7 ws:prompts:wanting:comparison  8 ws:prompts:wanting:demonstration
--       9 ws:demonstrations  10 ws:audit
-- ARGV  1 id  2 WrittenPrompt as the reviewer's revision reads  3 the accepted revision  4 audit entry  5 customer
--       6 most prompts per customer  7 "1" if labelers may see them  8 time (unix seconds)
--       then per item: prompt id, Prompt, probe and entry as in `keep`, Demonstration ("" for none)
-- Returns {"accepted"}, {"changed"}, {"customer cap"} or {"duplicate", number of the item that is there already}.
-- An item that brings its demonstration waits for comparisons only.
local HEAD, PART = 8, 5
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return {'changed'} end
local count = (#ARGV - HEAD) / PART
for place = 0, count - 1 do
  local probe = ARGV[HEAD + PART * place + 3]
  if #redis.call('ZRANGE', KEYS[5], '[' .. probe, '(' .. probe .. '\255', 'BYLEX', 'LIMIT', 0, 1) == 1 then
    return {'duplicate', place + 1}
  end
end
if tonumber(redis.call('HGET', KEYS[6], ARGV[5]) or '0') + count > tonumber(ARGV[6]) then return {'customer cap'} end
for place = 0, count - 1 do
  local first = HEAD + PART * place + 1
  local id, record, _, entry, demonstration = unpack(ARGV, first, first + PART - 1)
  redis.call('HSET', KEYS[4], id, record)
  redis.call('ZADD', KEYS[5], 0, entry)
  if ARGV[7] == '1' then redis.call('ZADD', KEYS[7], ARGV[8], id) end
  if demonstration ~= '' then
    redis.call('XADD', KEYS[9], '*', 'record', demonstration)
  elseif ARGV[7] == '1' then
    redis.call('ZADD', KEYS[8], ARGV[8], id)
  end
end
redis.call('HINCRBY', KEYS[6], ARGV[5], count)
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
redis.call('XADD', KEYS[2], '*', 'record', ARGV[3])
redis.call('ZREM', KEYS[3], ARGV[1])
redis.call('XADD', KEYS[10], '*', 'record', ARGV[4])
return {'accepted'}
