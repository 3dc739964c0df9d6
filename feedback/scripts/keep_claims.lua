-- Keep claims: hide claimed comparisons from other samplers for longer.
--
-- KEYS  1 ws:sampling  2 ws:sampling:claims       ARGV  1 hidden until (unix seconds)  2.. id, token, id, token, ...
-- Returns the ids whose claim is not the newest any more, or that wait for completions no more; they stay as they are.
local lost = {}
for place = 2, #ARGV, 2 do
  local id, token = ARGV[place], ARGV[place + 1]
  if redis.call('HGET', KEYS[2], id) == token and redis.call('ZSCORE', KEYS[1], id) then
    redis.call('ZADD', KEYS[1], 'XX', ARGV[1], id)
  else
    table.insert(lost, id)
  end
end
return lost
