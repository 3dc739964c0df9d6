-- Fence: whether somebody took the right to write after the caller did. For scripts with `-- Uses: fence`.
-- A number of 0 is no trainer's: an operator's own act.
local function fenced(key, number)
  return number ~= '0' and redis.call('GET', key) ~= number
end
