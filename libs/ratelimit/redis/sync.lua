-- What a node has used of keys is added to what all have, and it is told how each stands. A key is a hash: full0 and full1 are when
-- everything used is regained, of pieces and of bytes, and n:<node> when that node last reported, in µs of this server's clock.
-- Nothing here depends on limits: they are the nodes' business, and may differ while they are being changed.
--
-- ARGV: node, until when this is to be done (0: whenever), for how long a node counts; then for each key what to add to each,
-- and how far ahead each may be.
-- Answer: this server's time, and 0 if that is too late; or 1 and for each key how far ahead each is, and how many nodes use it.
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local valid, active = tonumber(ARGV[2]), tonumber(ARGV[3])
if valid > 0 and now > valid then
  return {now, 0}
end
local mine = 'n:' .. ARGV[1]
local out = {now, 1}
for i, key in ipairs(KEYS) do
  local stored = redis.call('HGETALL', key)
  local full = {now, now}
  local nodes = 1
  for j = 1, #stored, 2 do
    local field, value = stored[j], tonumber(stored[j + 1])
    if field == 'full0' then
      full[1] = math.max(now, value)
    elseif field == 'full1' then
      full[2] = math.max(now, value)
    elseif field ~= mine then
      if value > now - active then
        nodes = nodes + 1
      else
        redis.call('HDEL', key, field)
      end
    end
  end
  local at = 3 + (i - 1) * 4
  for k = 1, 2 do
    full[k] = math.min(full[k] + tonumber(ARGV[at + k]), now + tonumber(ARGV[at + 2 + k]))
    out[#out + 1] = full[k] - now
  end
  out[#out + 1] = nodes
  redis.call('HSET', key, 'full0', string.format('%.0f', full[1]), 'full1', string.format('%.0f', full[2]), mine, string.format('%.0f', now))
  redis.call('PEXPIRE', key, math.ceil((math.max(full[1], full[2]) - now) / 1000) + 2000)
end
return out
