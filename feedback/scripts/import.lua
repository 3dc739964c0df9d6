-- Import: store a comparison from outside and what was said of it in one move; what is there already stays as it is.
--
-- KEYS  1 ws:comparison:<id>  2 ws:labels  3 ws:erased:comparisons
--       4 ws:answers:<id>  list  "<stream> <entry> <label id> 0": by it a label is known again, after a restore too
-- ARGV  1 comparison id  2 comparison (JSON)  3.. pairs of label id and label (JSON)
-- Returns how many labels are new, or -1 if the comparison was erased: it does not come back.
if redis.call('SISMEMBER', KEYS[3], ARGV[1]) == 1 then return -1 end
redis.call('SET', KEYS[1], ARGV[2], 'NX')
local known = {}
for _, answer in ipairs(redis.call('LRANGE', KEYS[4], 0, -1)) do
  known[string.match(answer, '^%S+ %S+ (%S+)')] = true
end
local taken = 0
for at = 3, #ARGV, 2 do
  if not known[ARGV[at]] then
    known[ARGV[at]] = true
    local entry = redis.call('XADD', KEYS[2], '*', 'record', ARGV[at + 1])
    redis.call('RPUSH', KEYS[4], KEYS[2] .. ' ' .. entry .. ' ' .. ARGV[at] .. ' 0')
    taken = taken + 1
  end
end
return taken
