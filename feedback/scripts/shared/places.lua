-- Places: where an item waits, and how a lease ends. Put before each script that says `-- Uses: places`.
--
-- ws:queue:<name>               fresh items: nobody was given one, so nobody has to be asked whether they saw it
-- ws:queue:<name>:partial       items that somebody was given and that have a free slot; fewest free slots first
-- ws:queue:<name>:disagreement  fresh items, by minus the disagreement of reward models
-- An item without a free slot, one that is held for review and a check are in none of them.
local PRIORITY = 0       -- places below this are those of items with priority
local SLOT = 1e11        -- what one free slot weighs in the order of partial items: more than any place in seconds

local function clock(given)
  if given ~= '' then return tonumber(given) end
  local time = redis.call('TIME')
  return tonumber(time[1]) + tonumber(time[2]) / 1e6
end

local function leave(queue, id)
  redis.call('ZREM', 'ws:queue:' .. queue, id)
  redis.call('ZREM', 'ws:queue:' .. queue .. ':partial', id)
  redis.call('ZREM', 'ws:queue:' .. queue .. ':disagreement', id)
end

-- Put an item where its state says that it belongs; may be repeated.
local function enter(id)
  local queue, slots, score, labels, held, given, disagreement = unpack(redis.call('HMGET', 'ws:item:' .. id,
    'queue', 'slots', 'score', 'labels', 'held', 'given', 'disagreement'))
  if not queue or queue == 'checks' then return end
  leave(queue, id)
  slots = tonumber(slots)
  if held or slots <= 0 then return end
  if tonumber(labels) == 0 and not given and redis.call('EXISTS', 'ws:lease:' .. id) == 0 then
    redis.call('ZADD', 'ws:queue:' .. queue, score, id)
    if disagreement then redis.call('ZADD', 'ws:queue:' .. queue .. ':disagreement', -tonumber(disagreement), id) end
  else
    local place = tonumber(score)
    if place >= PRIORITY then place = place + slots * SLOT end
    redis.call('ZADD', 'ws:queue:' .. queue .. ':partial', string.format('%.3f', place), id)
  end
end

-- End a lease without an answer; `forget` if the item may be offered to this labeler again.
local function give_back(id, labeler, forget, now)
  local lease, item, holding = 'ws:lease:' .. id, 'ws:item:' .. id, 'ws:holding:' .. labeler
  local leased_at = string.match(redis.call('HGET', lease, labeler), '^%d+ %S+ (%S+)')
  local asked = redis.call('HGET', holding, id)
  if asked and leased_at then
    local day = math.floor(tonumber(leased_at) / 86400)
    redis.call('HINCRBY', 'ws:taken:' .. labeler .. ':' .. day, string.match(asked, '%S+$'), -1)
  end
  redis.call('HDEL', holding, id)
  redis.call('HDEL', lease, labeler)
  redis.call('ZREM', 'ws:leases', id .. ' ' .. labeler)
  redis.call('HINCRBY', item, 'slots', 1)
  if not forget then
    redis.call('HSET', item, 'given', 1)
  else
    redis.call('SREM', 'ws:seen:' .. labeler, id)
    if redis.call('HGET', item, 'queue') == 'checks' then redis.call('LPUSH', 'ws:checks:' .. labeler, id) end
    if redis.call('EXISTS', 'ws:draft:' .. labeler .. ':' .. id) == 1 then
      redis.call('ZADD', 'ws:returned:' .. labeler, string.format('%.3f', now), id)
      redis.call('EXPIRE', 'ws:returned:' .. labeler, 604800)
    end
  end
  enter(id)
end

-- End up to `most` overdue leases; return how many.
local function end_overdue(now, most)
  local ended = 0
  for _, member in ipairs(redis.call('ZRANGE', 'ws:leases', '-inf', now, 'BYSCORE', 'LIMIT', 0, most)) do
    local id, labeler = string.match(member, '^(%S+) (.*)$')
    local lease = redis.call('HGET', 'ws:lease:' .. id, labeler)
    if not lease then
      redis.call('ZREM', 'ws:leases', member)
    else
      local deadline = string.match(lease, '^%d+ (%S+)')
      if tonumber(deadline) <= now then
        give_back(id, labeler, true, now)
        ended = ended + 1
      else
        redis.call('ZADD', 'ws:leases', deadline, member)
      end
    end
  end
  return ended
end
