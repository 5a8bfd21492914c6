#!/usr/bin/env python3
"""heapmap.py - reads the heap maps that gc_dump_heap writes (docs/heapmap.md).

    import heapmap
    m = heapmap.read("FILE")        # a path, "-" for standard input, or an open binary file
    for s in m.spans: print(s.page, s.objects, s.slots, list(s.live_slots()))

As a program: heapmap.py FILE prints a summary. Bad input is a HeapMapError: one line, exit status 2.
Standard library only.
"""
import struct
import sys
from dataclasses import dataclass, field

MAGIC = b"\x89HFMAP\r\n"
VERSION = 1
KIND_SPAN, KIND_END, KIND_SITE, KIND_OWNERS = 1, 2, 3, 4
NOSCAN, CACHED, UNSWEPT, TYPED = 1, 2, 4, 8

_HEADER = struct.Struct("<8sIIQQQQQ")
_RECORD = struct.Struct("<II")
_SPAN = struct.Struct("<IIIHHIIII")
_END = struct.Struct("<QQQQQ")
_PAIR = struct.Struct("<II")
_OWNER = struct.Struct("<IIQ")
SPARSE = 0.5  # occupancy below which the summary counts a span's bytes as pinned, as gc_profile_write does


class HeapMapError(Exception):
    """The input is no heap map, or not a whole one; str() is one clear line."""


@dataclass
class Owner:
    """A site of sampled objects in a span."""
    site: int     # number, of HeapMap.sites
    samples: int  # objects that were sampled
    bytes: int    # of the span that the objects they stand for keep; to be added up over spans


@dataclass
class Site:
    """A call stack, innermost frame first."""
    addresses: list
    names: list  # as the writer knew them

    def __str__(self):
        return " < ".join(self.names) if self.names else "unknown: no way through the stack was found"


@dataclass
class Span:
    page: int        # first page, from the heap's base
    pages: int
    age: int         # cycles since it was made, modulo 16384
    size_class: int  # 0: a large object
    flags: int       # NOSCAN | CACHED | UNSWEPT | TYPED
    slot_bytes: int  # of a large object: all of the span
    slots: int
    objects: int
    claimed: int     # slots that a thread holds and has not handed out
    bitmap: int      # bit i: slot i holds an object
    owners: list = field(default_factory=list)  # sites that keep most of it, while sampling was on
    others: int = 0  # sampled objects of sites not among the owners

    @property
    def noscan(self):
        return bool(self.flags & NOSCAN)

    @property
    def cached(self):
        return bool(self.flags & CACHED)

    @property
    def unswept(self):
        return bool(self.flags & UNSWEPT)

    @property
    def typed(self):
        return bool(self.flags & TYPED)

    @property
    def large(self):
        return self.size_class == 0

    @property
    def occupancy(self):
        """Share of the slots that hold objects, 0 to 1."""
        return self.objects / self.slots

    @property
    def live_bytes(self):
        return self.objects * self.slot_bytes

    def is_live(self, slot):
        return bool(self.bitmap >> slot & 1)

    def live_slots(self):
        """The numbers of the slots that hold objects, rising."""
        return (i for i in range(self.slots) if self.bitmap >> i & 1)


@dataclass
class HeapMap:
    version: int
    page_size: int
    os_page_size: int
    base: int        # address of page 0
    cycle: int       # last completed cycle when writing began
    time_ns: int     # since 1970
    spans: list = field(default_factory=list)
    end_cycle: int = 0
    sites: dict = field(default_factory=dict)  # by number
    unknown: int = 0  # records of kinds that this reader does not know

    def address(self, span):
        return self.base + span.page * self.page_size

    def span_bytes(self, span):
        return span.pages * self.page_size

    def totals(self):
        """(spans, bytes of their pages, objects, bytes of objects), as the end record has them."""
        return (len(self.spans), sum(s.pages for s in self.spans) * self.page_size,
                sum(s.objects for s in self.spans), sum(s.live_bytes for s in self.spans))


def _take(stream, n, what):
    data = stream.read(n)
    if len(data) != n:
        raise HeapMapError(f"the heap map is cut short: {what} expected, {len(data)} of {n} bytes found")
    return data


def _read_header(stream):
    start = stream.read(_HEADER.size)
    if start[:len(MAGIC)] != MAGIC:
        raise HeapMapError("not a heap map: it does not begin as gc_dump_heap begins one")
    if len(start) < _HEADER.size:
        raise HeapMapError("the heap map is cut short inside its header")
    _, version, size, page, os_page, base, cycle, time_ns = _HEADER.unpack(start)
    if version != VERSION:
        raise HeapMapError(f"a heap map of version {version}; this reader knows version {VERSION}")
    if size < _HEADER.size or page == 0:
        raise HeapMapError("the header of the heap map makes no sense")
    _take(stream, size - _HEADER.size, "the rest of the header")
    return HeapMap(version, page, os_page, base, cycle, time_ns)


def _parse_span(data, page_size):
    if len(data) < _SPAN.size:
        raise HeapMapError(f"a span's record of {len(data)} bytes is too short")
    page, pages, age, cls, flags, slot_bytes, slots, objects, claimed = _SPAN.unpack_from(data)
    words = 8 * ((slots + 63) // 64)
    if slots == 0 or objects > slots:
        raise HeapMapError(f"the span at page {page} has {objects} objects in {slots} slots")
    if objects in (0, slots):
        bitmap = (1 << slots) - 1 if objects else 0
    else:
        bitmap = int.from_bytes(data[_SPAN.size:_SPAN.size + words], "little")
        if bin(bitmap).count("1") != objects:
            raise HeapMapError(f"the span at page {page} has another number of objects than its bitmap")
    return Span(page, pages, age, cls, flags, slot_bytes or pages * page_size, slots, objects, claimed, bitmap)


def _parse_owners(m, data):
    if len(data) < _PAIR.size or (len(data) - _PAIR.size) % _OWNER.size:
        raise HeapMapError(f"a record of owners has {len(data)} bytes")
    page, others = _PAIR.unpack_from(data)
    if not m.spans or m.spans[-1].page != page:
        raise HeapMapError(f"the owners of the span at page {page} are not behind it")
    m.spans[-1].others = others
    m.spans[-1].owners = [Owner(*entry) for entry in _OWNER.iter_unpack(data[_PAIR.size:])]


def _parse_site(m, data):
    number, depth = _PAIR.unpack_from(data) if len(data) >= _PAIR.size else (0, 0)
    start = _PAIR.size + 8 * depth
    names = data[start:].split(b"\0")[:depth]
    if len(data) < start or len(names) != depth:
        raise HeapMapError(f"the record of site {number} is too short for its {depth} frames")
    addresses = list(struct.unpack_from(f"<{depth}Q", data, _PAIR.size))
    m.sites[number] = Site(addresses, [name.decode(errors="replace") for name in names])


def _check_end(m, data):
    if len(data) < _END.size:
        raise HeapMapError("the end record is too short")
    *totals, m.end_cycle = _END.unpack_from(data)
    if tuple(totals) != m.totals():
        raise HeapMapError(f"the totals of the heap map differ: {tuple(totals)} announced, {m.totals()} found")
    for span in m.spans:
        for owner in span.owners:
            if owner.site not in m.sites:
                raise HeapMapError(f"site {owner.site} owns the span at page {span.page} and is not in the heap map")


def _read_stream(stream):
    m = _read_header(stream)
    while True:
        kind, size = _RECORD.unpack(_take(stream, _RECORD.size, "a record or the end"))
        data = _take(stream, size, "the rest of a record")
        if kind == KIND_SPAN:
            m.spans.append(_parse_span(data, m.page_size))
        elif kind == KIND_OWNERS:
            _parse_owners(m, data)
        elif kind == KIND_SITE:
            _parse_site(m, data)
        elif kind == KIND_END:
            _check_end(m, data)
            return m
        else:
            m.unknown += 1


def pins(m, occupancy=SPARSE):
    """[(Site, bytes, samples, spans)] of the sites that keep spans less full than that, most bytes first. Estimates."""
    sums = {}
    for span in m.spans:
        if span.large or span.occupancy >= occupancy:
            continue
        for owner in span.owners:
            had = sums.get(owner.site, (0, 0, 0))
            sums[owner.site] = (had[0] + owner.bytes, had[1] + owner.samples, had[2] + 1)
    return [(m.sites[number], *sums[number]) for number in sorted(sums, key=lambda n: (-sums[n][0], n))]


def read(source):
    """The HeapMap in source: a path, "-" for standard input, or an open binary file. Raises HeapMapError."""
    if hasattr(source, "read"):
        return _read_stream(source)
    if source == "-":
        return _read_stream(sys.stdin.buffer)
    try:
        with open(source, "rb") as stream:
            return _read_stream(stream)
    except OSError as error:
        raise HeapMapError(f"{source}: {error.strerror}") from None


def _summary(m):
    spans, span_bytes, objects, live = m.totals()
    print(f"after cycle {m.cycle}: {spans} spans, {span_bytes / 2**20:.2f} MiB, {objects} objects, "
          f"{live / 2**20:.2f} MiB ({100 * live / span_bytes if span_bytes else 0:.1f} %)")
    print(f"{'slot':>7} {'kind':<7} {'spans':>8} {'MiB':>9} {'objects':>10} {'full %':>7} {'oldest':>7}")
    kinds = {}
    for s in m.spans:
        kinds.setdefault((s.size_class, s.noscan), []).append(s)
    for (cls, noscan), group in sorted(kinds.items()):
        size = group[0].slot_bytes if cls else "large"
        share = 100 * sum(s.live_bytes for s in group) / sum(m.span_bytes(s) for s in group)
        print(f"{size:>7} {'noscan' if noscan else 'scanned':<7} {len(group):>8} "
              f"{sum(m.span_bytes(s) for s in group) / 2**20:>9.2f} {sum(s.objects for s in group):>10} "
              f"{share:>7.1f} {max(s.age for s in group):>7}")
    for site, kept, samples, spans in pins(m)[:10]:
        print(f"pinned by {site}: {kept / 2**20:.2f} MiB, {samples} sampled objects in {spans} sparse spans")


def main(arguments):
    if len(arguments) != 1 or arguments[0] in ("-h", "--help"):
        print("usage: heapmap.py FILE (- for standard input)", file=sys.stderr)
        return 0 if arguments and arguments[0] in ("-h", "--help") else 2
    try:
        _summary(read(arguments[0]))
    except HeapMapError as error:
        print(f"heapmap.py: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
