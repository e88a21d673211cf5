"""What the server does, in its own language (Lua): each script runs to its end before anybody else is answered."""

from __future__ import annotations

__all__ = ["BREAKER", "BUDGET"]

# runtime/breaker.py over all processes. Calls and failures are counted in tenths of the window. A round of probes is
# known by when it ends. Answers (state, milliseconds until it ends, whether the call may be made, its round or 0).
BREAKER = """
local key, what, successes = KEYS[1], ARGV[1], tonumber(ARGV[2])
local rate, minimum, window, open_for = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local most_probes, probe = tonumber(ARGV[7]), tonumber(ARGV[8])
local time = redis.call('time')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function get(field, otherwise) return redis.call('hget', key, field) or otherwise end
local state, ends = get('state', 'closed'), tonumber(get('ends', 0))
local allowed = 1

local function move(to)
  state, ends = to, to == 'closed' and 0 or now + open_for
  redis.call('del', key)
  redis.call('hset', key, 'state', state, 'ends', ends, 'probes', 0, 'passed', 0)
end

local function add(to, number)
  if number > 0 then redis.call('hincrby', key, to, number) end
end

local function rate_is_reached()
  local calls, failures, oldest = 0, 0, math.floor((now - window) * 10 / window)
  local fields = redis.call('hgetall', key)
  for at = 1, #fields, 2 do
    local kind, tenth = string.match(fields[at], '^(%a+):(%d+)$')
    if tenth and tonumber(tenth) < oldest then
      redis.call('hdel', key, fields[at])
    elseif kind == 'calls' then
      calls = calls + fields[at + 1]
    elseif kind == 'failures' then
      failures = failures + fields[at + 1]
    end
  end
  return calls >= minimum and failures >= rate * calls
end

if state == 'open' and now >= ends and what == 'enter' then move('half-open') end
if state == 'closed' then
  local failed = what == 'failed' and 1 or 0
  local tenth = string.format('%.0f', math.floor(now * 10 / window))
  add('calls:' .. tenth, successes + failed)
  add('failures:' .. tenth, failed)
  if failed == 1 and rate_is_reached() then move('open') end
elseif state == 'half-open' then
  local is_due = probe == ends
  if what == 'failed' then
    if is_due then move('open') end
  elseif what == 'succeeded' then
    if is_due and redis.call('hincrby', key, 'passed', 1) >= most_probes then move('closed') end
  elseif what == 'given_up' then
    if is_due then redis.call('hincrby', key, 'probes', -1) end
  elseif what == 'enter' then
    if tonumber(get('probes', 0)) >= most_probes and now >= ends then move('half-open') end
    allowed = redis.call('hincrby', key, 'probes', 1) <= most_probes and 1 or 0
    if allowed == 0 then redis.call('hincrby', key, 'probes', -1) end
  end
else
  allowed = 0
end
if redis.call('exists', key) == 1 then redis.call('pexpire', key, 2 * (window + open_for)) end
return {state, math.max(0, ends - now), allowed, state == 'half-open' and ends or 0}
"""

# runtime/budget.py over all processes. Answers (whether the retry is paid for, tokens left).
BUDGET = """
local capacity, cost, returned = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local tokens = math.min(capacity, tonumber(redis.call('get', KEYS[1]) or capacity) + returned)
local paid = 0
if cost > 0 and tokens >= cost then
  tokens = tokens - cost
  paid = 1
end
if tokens >= capacity then redis.call('del', KEYS[1]) else redis.call('set', KEYS[1], tokens) end
return {paid, tokens}
"""
