#!/usr/bin/env python3
"""read_profile.py FILE - reads a profile that `test_profile write FILE` wrote, with the standard library only, and checks
it: gzip, each field of profile.proto against what the format demands, and the figures of the planted pattern: 64 spans
of 512 objects of 16 bytes each, all noted, of which one per span is kept. Exit status 1 with one line when it is wrong."""
import gzip
import os
import sys

OBJECTS, SIZE, SPANS, PAGE = 64 * 512, 16, 64, 8192
TYPES = [("alloc_objects", "count"), ("alloc_space", "bytes"), ("inuse_objects", "count"), ("inuse_space", "bytes"),
         ("pinned_objects", "count"), ("pinned_space", "bytes")]


def require(condition, text):
    if not condition:
        sys.exit("profile: " + text)


def varint(data, at):
    value = shift = 0
    while True:
        require(at < len(data) and shift < 64, "a number is cut off")
        value |= (data[at] & 127) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 128:
            return value, at


def fields(data):
    """(number, value) of each field: an int, or bytes."""
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        value, at = varint(data, at)
        require(key & 7 in (0, 2), "wire type %d" % (key & 7))
        if key & 7 == 2:
            require(at + value <= len(data), "a field is cut off")
            value, at = data[at:at + value], at + value
        yield key >> 3, value


def packed(data):
    values, at = [], 0
    while at < len(data):
        value, at = varint(data, at)
        values.append(value)
    return values


def record(data):
    """A message in which each field comes at most once."""
    found = list(fields(data))
    require(len(dict(found)) == len(found), "a field comes twice")
    return dict(found)


def by_id(messages, what):
    table = {m.get(1, 0): m for m in map(record, messages)}
    require(len(table) == len(messages) and 0 not in table, "ids of %ss" % what)
    return table


class Profile:
    def __init__(self, data):
        all_fields = {}
        for number, value in fields(data):
            all_fields.setdefault(number, []).append(value)
        self.all = all_fields
        self.strings = [s.decode() for s in all_fields[6]]
        require(self.strings[0] == "", "the first string is not empty")
        self.types = [self.type(t) for t in all_fields[1]]
        self.mappings = by_id(all_fields.get(3, []), "mapping")
        self.locations = by_id(all_fields.get(4, []), "location")
        self.functions = by_id(all_fields.get(5, []), "function")
        self.samples = [record(s) for s in all_fields.get(2, [])]

    def type(self, data):
        m = record(data)
        return self.strings[m[1]], self.strings[m[2]]

    def function(self, location):
        if 4 not in self.locations[location]:
            return "?"
        line = record(self.locations[location][4])
        return self.strings[self.functions[line[1]][2]]

    def leaf(self, sample):
        stack = packed(sample[1])
        return self.function(stack[0]) if stack else ""

    def value(self, name, leaf):
        i = [t for t, _ in self.types].index(name)
        return sum(packed(s[2])[i] for s in self.samples if self.leaf(s) == leaf)


def check_structure(p):
    require(p.types == TYPES, "sample types %r" % p.types)
    require(p.type(p.all[11][0]) == ("space", "bytes") and p.all[12] == [1], "period")
    require(p.strings[p.all[14][0]] == "inuse_space", "default sample type")
    require(p.all[9][0] > 10**18 and 0 < p.all[10][0] < 600 * 10**9, "time and duration")
    for s in p.samples:
        require(len(packed(s[2])) == len(TYPES), "values of a sample")
        require(all(l in p.locations for l in packed(s[1])), "a location is missing")
    for l in p.locations.values():
        require(2 not in l or p.mappings[l[2]][2] <= l[3] < p.mappings[l[2]][3], "a location outside its mapping")
    files = [p.strings[m[5]] for m in p.mappings.values()]
    require(os.path.realpath(files[0]).endswith("test_profile"), "the first mapping is %r" % files[0])
    require(any("libc.so" in f for f in files), "no mapping of the C library")
    require(all(len(p.strings[m.get(6, 0)]) % 2 == 0 for m in p.mappings.values()), "build ids")


def check_figures(p):
    pins, dies = p.value("alloc_objects", "f_pins"), p.value("alloc_objects", "f_dies")
    require((pins, dies) == (SPANS, OBJECTS - SPANS), "alloc_objects %d and %d" % (pins, dies))
    require(p.value("alloc_space", "f_dies") == dies * SIZE, "alloc_space")
    require(p.value("inuse_objects", "f_pins") == SPANS, "inuse_objects")
    require(p.value("inuse_space", "f_pins") == SPANS * SIZE, "inuse_space")
    require(p.value("inuse_objects", "f_dies") <= 20, "f_dies in use")
    pinned = p.value("pinned_space", "f_pins") + p.value("pinned_space", "f_dies")
    require(abs(pinned - SPANS * PAGE) <= 2 * PAGE, "pinned_space %d" % pinned)
    require(p.value("pinned_space", "f_pins") * 4 >= pinned * 3, "f_pins does not pin most")
    stack = [p.function(l) for s in p.samples if p.leaf(s) == "f_pins" for l in packed(s[1])]
    require("main" in stack and stack.index("f_pins") == 0, "the stack is %r" % stack)


def main():
    data = gzip.open(sys.argv[1]).read()
    p = Profile(data)
    check_structure(p)
    check_figures(p)
    print("profile: ok, %d bytes, %d stacks, %d locations, %d mappings" %
          (len(data), len(p.samples), len(p.locations), len(p.mappings)))


if __name__ == "__main__":
    main()
