-- Publish: add a version of the guidelines, with its audit entry, unless that version exists.
--
-- KEYS  1 ws:guidelines  hash version -> Guidelines   2 ws:audit  stream
-- ARGV  1 version  2 record (JSON)  3 audit entry (JSON)
-- Returns 1 if it was added, 0 if there is such a version.
if redis.call('HSETNX', KEYS[1], ARGV[1], ARGV[2]) == 0 then return 0 end
redis.call('XADD', KEYS[2], '*', 'record', ARGV[3])
return 1
