-- Expire: end overdue leases; their items may be offered to the same labelers again.
-- Uses: places
--
-- KEYS  1 ws:leases
-- ARGV  1 most  2 now (unix seconds), or "" for the ledger's own clock
-- Returns how many were ended.
return end_overdue(clock(ARGV[2]), tonumber(ARGV[1]))
