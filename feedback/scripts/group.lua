-- Group: create a stream's consumer group from its beginning, unless it exists.
--
-- KEYS  1 stream      ARGV  1 group
local made = redis.pcall('XGROUP', 'CREATE', KEYS[1], ARGV[1], '0', 'MKSTREAM')
if made.err and not string.find(made.err, 'BUSYGROUP') then return redis.error_reply(made.err) end
return 1
