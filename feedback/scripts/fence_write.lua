-- Fence write: write fields of hashes and delete keys in one move, unless a newer trainer took over.
-- Uses: fence
--
-- KEYS  1 ws:rounds:fence string   2... key of each change
-- ARGV  1 writer's number, 0 for none   2... field and record (JSON) of each change; an empty field deletes the key
-- Returns 1, or 0 if the writer was superseded and nothing was written.
if fenced(KEYS[1], ARGV[1]) then return 0 end
for place = 2, #KEYS do
  local field, record = ARGV[2 * place - 2], ARGV[2 * place - 1]
  if field == '' then
    redis.call('DEL', KEYS[place])
  else
    redis.call('HSET', KEYS[place], field, record)
  end
end
return 1
