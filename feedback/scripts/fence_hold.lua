-- Fence hold: take or renew the right to run rounds; whoever takes it over gets a higher number than all before.
--
-- KEYS  1 ws:rounds:lock string   2 ws:rounds:fence string
-- ARGV  1 holder's token  2 seconds to live  3 number that the holder has, 0 for none yet
-- Returns the holder's number, or 0 if another one holds the right. A right that ran out and that nobody took keeps
-- its number.
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
local number = redis.call('GET', KEYS[2])
if not holder and number ~= ARGV[3] then number = redis.call('INCR', KEYS[2]) end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
return tonumber(number)
