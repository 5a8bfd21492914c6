-- work.lua - what takes much memory in Lua: trees, strings, closures, coroutines, tables that grow and shrink, weak
-- tables, finalizers. Prints only what depends on its argument, a scale.
local scale = tonumber(arg[1] or "10")

local function tree(depth)
  if depth == 0 then return {} end
  return { tree(depth - 1), tree(depth - 1) }
end
local function count(t) return t[1] and 1 + count(t[1]) + count(t[2]) or 1 end

local function trees()
  local long, sum = tree(12), 0
  for _ = 1, scale * 3 do sum = sum + count(tree(10)) end
  return sum, count(long)
end

local function strings()
  local parts, digest = {}, 0
  for i = 1, scale * 2000 do
    parts[#parts + 1] = ("%d:%x"):format(i, i * 2654435761 % 4294967296)
    if #parts == 500 then
      local text = table.concat(parts, ",")
      text = text:gsub("(%d)(%x)", "%2%1"):rep(3):upper():reverse()
      for c in text:gmatch("%w+") do digest = (digest * 31 + #c + c:byte()) % 1000000007 end
      parts = {}
    end
  end
  local grown = ""
  for i = 1, 400 do grown = grown .. i end
  return digest, #grown
end

local function closures()
  local function counter(n)
    local sum = 0
    return function(i) sum = sum + i * n; return sum end
  end
  local all, total = {}, 0
  for i = 1, scale * 1000 do all[i % 128] = counter(i); total = total + all[i % 128](i) % 10 end
  return total
end

local function coroutines()
  local function walk(t)
    if t[1] then walk(t[1]); walk(t[2]) else coroutine.yield(1) end
  end
  local leaves = 0
  for _ = 1, scale * 20 do
    local t = tree(5)
    for one in coroutine.wrap(function() walk(t) end) do leaves = leaves + one end
    local left = coroutine.create(walk) -- never finished
    coroutine.resume(left, t)
  end
  return leaves
end

local function tables()
  local t, sum = {}, 0
  for i = 1, scale * 3000 do
    t[i * 7919 % 5003] = { i, tostring(i), { n = i } }
    if i % 3 == 0 then t[i * 104729 % 5003] = nil end
    if i % 5000 == 0 then
      local keys = {}
      for k in pairs(t) do keys[#keys + 1] = k end
      table.sort(keys, function(a, b) return a > b end)
      for j, k in ipairs(keys) do sum = (sum + k * j + #t[k][2] + t[k][3].n) % 1000003 end
    end
  end
  return sum
end

local function weak()
  local cache, keys, finalized = setmetatable({}, { __mode = "v" }), setmetatable({}, { __mode = "k" }), 0
  local held = {}
  for i = 1, scale * 100 do
    local object = setmetatable({ i }, { __gc = function() finalized = finalized + 1 end })
    cache[i], keys[object] = object, { object, i } -- an ephemeron: its value holds its key
    if i % 10 == 0 then held[#held + 1] = object end
  end
  collectgarbage(); collectgarbage()
  local values, ephemerons = 0, 0
  for _ in pairs(cache) do values = values + 1 end
  for object, pair in pairs(keys) do ephemerons = ephemerons + (pair[1] == object and pair[2] or 0) end
  return finalized, values, ephemerons, #held
end

local function errors()
  local caught = 0
  for i = 1, scale * 200 do
    local ok, e = pcall(function() local big = { i, ("x"):rep(100) }; error({ code = #big[2] + i % 3 }) end)
    caught = caught + (ok and 0 or e.code)
  end
  return caught
end

local modes = { "generational", "incremental" }
for _, mode in ipairs(modes) do
  collectgarbage(mode)
  print("trees", trees())
  print("strings", strings())
  print("closures", closures())
  print("coroutines", coroutines())
  print("tables", tables())
  print("weak", weak())
  print("errors", errors())
end
