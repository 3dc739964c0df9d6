-- Log interactions: each once, however often the relay sends it, unless its customer was erased since.
--
-- KEYS  1 ws:interactions  2 ws:erased
-- ARGV  1 MessagePack: list of {id, customer, when it was made (unix seconds), record (JSON)}
--       2 seconds to keep a record
-- Also touches ws:interaction:<id> and ws:interactions:of:<customer> of each. One argument for all, because what costs
-- the relay most is the number of its system calls.
-- Returns a list: 1 if it was new, 0 if it was there already, -1 if its customer was erased after it was made, or a
-- text saying why this record cannot be taken; then nothing of it was stored, and the others were.
local kind = redis.call('TYPE', KEYS[1]).ok
if kind ~= 'stream' and kind ~= 'none' then
  return redis.error_reply('MISCONF ' .. KEYS[1] .. ' is a ' .. kind .. ', not a stream')
end
local keep = tonumber(ARGV[2])
local fates = {}
for place, each in ipairs(cmsgpack.unpack(ARGV[1])) do
  local id, customer, at, record = unpack(each)
  local erased = redis.call('HGET', KEYS[2], customer)
  if erased and tonumber(at) <= tonumber(erased) then
    fates[place] = -1
  elseif redis.call('EXISTS', 'ws:interaction:' .. id) == 1 then
    fates[place] = 0
  else
    local index = 'ws:interactions:of:' .. customer
    local added = redis.pcall('ZADD', index, at, id)
    if type(added) == 'table' and added.err then
      if not string.find(added.err, '^WRONGTYPE') then return added end
      fates[place] = added.err
    else
      redis.call('ZREMRANGEBYSCORE', index, '-inf', tonumber(at) - 2 * keep)
      redis.call('EXPIRE', index, 2 * keep)
      redis.call('XADD', KEYS[1], '*', 'id', id, 'record', record)
      redis.call('SET', 'ws:interaction:' .. id, record, 'EX', ARGV[2])
      fates[place] = 1
    end
  end
end
return fates
