-- Import: store a comparison from outside and what was said of it in one move; what is there already stays as it is.
--
-- KEYS  1 ws:imported  2 ws:comparison:<id>  3 ws:labels  4 ws:erased:comparisons
--       5 ws:answers:<id>  list  "<stream> <entry> <label id> 0"
-- ARGV  1 comparison id  2 comparison (JSON)  3.. pairs of label id and label (JSON)
-- Returns how many labels are new, or -1 if the comparison was erased: it does not come back.
if redis.call('SISMEMBER', KEYS[4], ARGV[1]) == 1 then return -1 end
redis.call('SET', KEYS[2], ARGV[2], 'NX')
local taken = 0
for at = 3, #ARGV, 2 do
  if redis.call('SADD', KEYS[1], ARGV[at]) == 1 then
    local entry = redis.call('XADD', KEYS[3], '*', 'record', ARGV[at + 1])
    redis.call('RPUSH', KEYS[5], KEYS[3] .. ' ' .. entry .. ' ' .. ARGV[at] .. ' 0')
    taken = taken + 1
  end
end
return taken
