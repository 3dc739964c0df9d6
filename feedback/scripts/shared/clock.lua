-- Clock: the ledger's own time in unix seconds, so that no worker's clock matters. For scripts with `-- Uses: clock`.
local function now_s()
  local time = redis.call('TIME')
  return tonumber(time[1]) + tonumber(time[2]) / 1e6
end
