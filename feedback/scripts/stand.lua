-- Stand: pause a labeler or let them go on, with what becomes of their labels and the audit entry.
--
-- KEYS  1 ws:labeler:<name> hash   2 ws:labelers set of names   3 ws:audit stream
-- ARGV  1 name  2 new state, "paused" or "active"  3 reason  4 now (unix seconds)  5 audit entry (JSON)
--       6 when pausing: since when labels are quarantined (unix seconds), or ""; when resuming: "lift" or "keep"
-- Returns 1, or 0 if that is the labeler's state already; nothing changes then.
if (redis.call('HGET', KEYS[1], 'state') or 'active') == ARGV[2] then return 0 end
redis.call('SADD', KEYS[2], ARGV[1])
redis.call('HSET', KEYS[1], 'state', ARGV[2], 'reason', ARGV[3], 'since', ARGV[4])
if ARGV[2] == 'paused' then
  if ARGV[6] ~= '' then redis.call('HSET', KEYS[1], 'quarantine:' .. ARGV[6], '') end
else
  local fields = redis.call('HGETALL', KEYS[1])
  for at = 1, #fields, 2 do
    if fields[at + 1] == '' and string.sub(fields[at], 1, 11) == 'quarantine:' then
      if ARGV[6] == 'lift' then
        redis.call('HDEL', KEYS[1], fields[at])
      else
        redis.call('HSET', KEYS[1], fields[at], ARGV[4])
      end
    end
  end
end
redis.call('XADD', KEYS[3], '*', 'record', ARGV[5])
return 1
