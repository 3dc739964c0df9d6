-- Keep claims: hide claimed comparisons from other samplers for longer.
-- Uses: clock
--
-- KEYS  1 ws:sampling  2 ws:sampling:claims       ARGV  1 seconds for which they are hidden  2.. id, token, id, ...
-- Returns the ids whose claim is not the newest any more, or that wait for completions no more; they stay as they are.
local lost, hidden_until = {}, string.format('%.6f', now_s() + ARGV[1])
for place = 2, #ARGV, 2 do
  local id, token = ARGV[place], ARGV[place + 1]
  if redis.call('HGET', KEYS[2], id) == token and redis.call('ZSCORE', KEYS[1], id) then
    redis.call('ZADD', KEYS[1], 'XX', hidden_until, id)
  else
    table.insert(lost, id)
  end
end
return lost
