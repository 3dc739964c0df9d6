-- Vote: store a customer's verdict as a finished comparison and its label in one move, once per mark.
--
-- KEYS  1 mark ("<entry> <label id>" of the vote taken before, if any)  2 ws:comparison:<id>  3 ws:labels
-- ARGV  1 label id  2 comparison (JSON)  3 label (JSON)  4 seconds to remember the mark
-- Returns {"taken", entry}; {"again", entry} for the same label id; {"voted", entry} for another one, changing nothing.
local before = redis.call('GET', KEYS[1])
if before then
  local entry, label = string.match(before, '^(%S+) (%S+)$')
  return {label == ARGV[1] and 'again' or 'voted', entry}
end
local entry = redis.call('XADD', KEYS[3], '*', 'record', ARGV[3])
redis.call('SET', KEYS[2], ARGV[2])
redis.call('SET', KEYS[1], entry .. ' ' .. ARGV[1], 'EX', ARGV[4])
return {'taken', entry}
