-- One decision: the costs are taken if neither is then further ahead than its depth. A key is "full0 full1", in µs of this server's
-- clock.
--
-- ARGV: until when this is to be done (0: whenever), costs, depths. Answer: this server's time; 0 if that is too late, else 1; and
-- after how many µs it would be taken, 0: it was.
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local valid = tonumber(ARGV[1])
if valid > 0 and now > valid then
  return {now, 0, 0}
end
local full = {now, now}
local stored = redis.call('GET', KEYS[1])
if stored then
  local a, b = string.match(stored, '^(%d+) (%d+)$')
  full = {math.max(now, tonumber(a)), math.max(now, tonumber(b))}
end
local wait = 0
for k = 1, 2 do
  local cost, depth = tonumber(ARGV[1 + k]), tonumber(ARGV[3 + k])
  if cost > 0 then
    wait = math.max(wait, full[k] + math.min(cost, depth) - now - depth)
    full[k] = full[k] + cost
  end
end
if wait > 0 then
  return {now, 1, math.ceil(wait)}
end
redis.call('SET', KEYS[1], string.format('%.0f %.0f', full[1], full[2]), 'PX', math.ceil((math.max(full[1], full[2]) - now) / 1000) + 1)
return {now, 1, 0}
