# work.cr - trees, strings, hashes, finalizers and fibers, whose stacks the program tells the collector of; the argument says how much.
class Node
  getter left : Node?
  getter right : Node?

  def initialize(depth : Int32)
    if depth > 0
      @left = Node.new(depth - 1)
      @right = Node.new(depth - 1)
    end
  end

  def size : Int64
    1_i64 + (@left.try(&.size) || 0) + (@right.try(&.size) || 0)
  end
end

class Final
  class_property count = 0

  def initialize(@value : Int32)
  end

  def finalize
    Final.count += 1
  end
end

def drop(count)
  count.times { |i| Final.new(i) }
end

n = (ARGV[0]? || "10").to_i
old = Node.new(14)
puts "young trees: #{(1..n).sum { Node.new(10).size }}"

table = {} of String => Array(Int32)
(n * 100).times { |i| (table["key #{i % 5000}"] ||= [] of Int32) << i }
puts "table: #{table.size} #{table.values.sum(&.size)}"

# Each fiber's objects are reachable from its own stack only.
results = Channel(Int64).new
8.times do |i|
  spawn do
    mine = Node.new(8)
    sum = 0_i64
    n.times do
      sum += Node.new(6).size
      Fiber.yield
    end
    results.send(sum + i + mine.size)
  end
end
puts "fibers: #{(1..8).sum { results.receive }}"

drop(1000)
5.times { GC.collect; Node.new(6) }
puts "finalized: #{Final.count >= 900 ? "most" : Final.count.to_s}"
puts "old tree: #{old.size}"
