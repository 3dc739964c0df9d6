-- Lease: give a labeler one item that they have not seen, until a deadline, as one move.
-- Uses: places
--
-- In this order: an item of theirs that ran out with a draft; items with priority; what the draw says (a random fresh
-- item, or the one on which reward models disagree most); an item that others have begun; the oldest fresh one; whatever
-- is left. A slot is taken by the lease, not by the submission, so the overlap is never exceeded. Overdue leases that are in the way end first. If this lease is to be a check, a prepared
-- one takes the place of the ordinary item; where there is none, there is no check either, or whoever asks an empty queue
-- again and again would be given nothing else.
--
-- KEYS  1 ws:queue:<name>  2 ws:queue:<name>:partial  3 ws:queue:<name>:disagreement  4 ws:leases
--       5 ws:seen:<labeler>  6 ws:holding:<labeler>  7 ws:returned:<labeler>  8 ws:checks:<labeler>
--       9 ws:labeler:<name>  10 ws:prompts
-- ARGV  1 labeler  2 queue name  3 seconds  4 now (unix seconds), or "" for the ledger's own clock
--       5 most leases at a time (0: any)  6 most items a day (0: any)  7 "check" if this lease is to be a check
--       8 "random", "disagreement" or ""  9 where to draw a random item, in [0, 1)  10 rank to look on from
--       11 version of the guidelines that must be acknowledged, or ""  12 "practice" if it must be passed, or ""
-- Returns {"leased", item, "<token> <deadline> <leased at> <why>", record or false, draft or false}, {"nothing"},
-- {"more", rank} to be called again with that rank, {"many", first deadline}, {"capped", items today}, or {"refused"}.
local labeler, queue, now = ARGV[1], ARGV[2], clock(ARGV[4])
local most, cap, from = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[10])
local DEPTH, NEAR, LAP = 5000, 200, 500
local taken_today = 'ws:taken:' .. labeler .. ':' .. math.floor(now / 86400)

local function may(id)
  local slots, held, authors = unpack(redis.call('HMGET', 'ws:item:' .. id, 'slots', 'held', 'authors'))
  if not slots or held or tonumber(slots) <= 0 then return false end
  if authors and string.find('\n' .. authors .. '\n', '\n' .. labeler .. '\n', 1, true) then
    redis.call('SADD', KEYS[5], id)  -- so that it costs nothing the next time
    return false
  end
  return true
end

-- The first item of a zset, from a rank, that this labeler may have; looks at `depth` of them, or those below a score.
local function find(key, rank, depth, below)
  local page = 4
  while depth > 0 do
    page = math.min(page * 4, 1000, depth)
    local ids
    if below then
      ids = redis.call('ZRANGE', key, '-inf', '(' .. below, 'BYSCORE', 'LIMIT', rank, page)
    else
      ids = redis.call('ZRANGE', key, rank, rank + page - 1)
    end
    if #ids == 0 then return nil end
    for index, seen in ipairs(redis.call('SMISMEMBER', KEYS[5], unpack(ids))) do
      if seen == 0 and may(ids[index]) then return ids[index] end
    end
    rank, depth = rank + page, depth - page
  end
  return nil
end

local function take(id, why)
  local item, deadline = 'ws:item:' .. id, string.format('%.3f', now + tonumber(ARGV[3]))
  redis.call('HINCRBY', item, 'slots', -1)
  local token, at = redis.call('HINCRBY', item, 'token', 1), string.format('%.3f', now)
  redis.call('SADD', KEYS[5], id)
  redis.call('ZADD', KEYS[4], deadline, id .. ' ' .. labeler)
  local lease = token .. ' ' .. deadline .. ' ' .. at .. ' ' .. why
  redis.call('HSET', 'ws:lease:' .. id, labeler, lease)
  redis.call('HSET', KEYS[6], id, ARGV[3] .. ' ' .. queue)
  redis.call('HINCRBY', taken_today, queue, 1)
  redis.call('EXPIRE', taken_today, 259200)
  enter(id)
  local record = redis.call('GET', 'ws:comparison:' .. id) or redis.call('HGET', KEYS[10], id)
  return {'leased', id, lease, record, redis.call('GET', 'ws:draft:' .. labeler .. ':' .. id)}
end

local function returned()
  for _, id in ipairs(redis.call('ZRANGE', KEYS[7], 0, 9)) do
    local of = redis.call('HGET', 'ws:item:' .. id, 'queue')
    if of == queue or of == 'checks' or not of then
      redis.call('ZREM', KEYS[7], id)
      if of and redis.call('SISMEMBER', KEYS[5], id) == 0 and may(id) then
        if of == 'checks' then redis.call('LREM', KEYS[8], 0, id) end
        return id
      end
    end
  end
end

local function check()
  for _ = 1, 5 do
    local id = redis.call('LPOP', KEYS[8])
    if not id then return nil end
    if may(id) then return id end
  end
end

local function give(id, why)
  local instead = ARGV[7] == 'check' and check()
  if instead then return take(instead, 'check') end
  return take(id, why)
end

-- What is answered or expired is forgotten here; what is left counts.
local function holding()
  local count, first = 0, nil
  for _, id in ipairs(redis.call('HKEYS', KEYS[6])) do
    local lease = redis.call('HGET', 'ws:lease:' .. id, labeler)
    if lease then
      count = count + 1
      local deadline = string.match(lease, '^%d+ (%S+)')
      if not first or tonumber(deadline) < tonumber(first) then first = deadline end
    else
      redis.call('HDEL', KEYS[6], id)
    end
  end
  return count, first
end

local state, acknowledged, practice = unpack(redis.call('HMGET', KEYS[9], 'state', 'acknowledged', 'practice'))
if state == 'paused' or (ARGV[11] ~= '' and acknowledged ~= ARGV[11]) or (ARGV[12] ~= '' and not practice) then
  return {'refused'}
end
end_overdue(now, 5)
local held, first = holding()
if most > 0 and held >= most then return {'many', first} end
if cap > 0 then
  local today = tonumber(redis.call('HGET', taken_today, queue) or 0)
  if today >= cap then return {'capped', today} end
end

local id
if from == 0 then
  id = returned()
  if id then return take(id, 'returned') end
  id = find(KEYS[2], 0, NEAR, PRIORITY) or find(KEYS[1], 0, NEAR, PRIORITY)
  if id then return give(id, 'priority') end
  if ARGV[8] == 'random' then
    id = find(KEYS[1], math.floor(tonumber(ARGV[9]) * redis.call('ZCARD', KEYS[1])), 20)
    if id then return give(id, 'random') end
  elseif ARGV[8] == 'disagreement' then
    id = find(KEYS[3], 0, 20)
    if id then return give(id, 'disagreement') end
  end
  id = find(KEYS[2], 0, NEAR)
  if id then
    if redis.call('HGET', 'ws:item:' .. id, 'slots') == '1' then return give(id, 'short') end
    return give(id, 'oldest')
  end
end
-- Both lists as one, in slices, so that no single move is long and yet nothing is overlooked.
local fresh, partial = redis.call('ZCARD', KEYS[1]), redis.call('ZCARD', KEYS[2])
if from < fresh then
  id = find(KEYS[1], from, DEPTH)
  if id then return give(id, 'oldest') end
end
if from + DEPTH > fresh then
  id = find(KEYS[2], math.max(0, from - fresh), from + DEPTH - math.max(from, fresh))
  if id then return give(id, 'oldest') end
end
if from + DEPTH >= fresh + partial then return {'nothing'} end
return {'more', from + DEPTH - LAP}  -- a step back: what left meanwhile moved the others up
