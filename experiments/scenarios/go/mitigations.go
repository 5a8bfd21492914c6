// mitigations.go - the twin of mitigations.c: one workload, written in the ways that the article advises. The same records, the
// same random numbers, the same rows; see there.
package main

import "unsafe"

const (
	rounds        = 8
	perKept       = 8192
	bufferBytes   = 1024
	compactRounds = 2
)

var sizes = [rounds]int{256, 320, 384, 448, 512, 640, 768, 1024}

// The first words of every record; the rest is filled with the low byte of the key. Objects of records hold no pointers: they are
// made as bytes.
type record struct {
	key, size uint64
}

// What differs between the variants, as in mitigations.c.
type way struct {
	variant                                 string
	pooled, before, after, compacts, values bool
}

var ways = []way{
	{variant: "pointers"},
	{variant: "values", values: true},
	{variant: "pool", pooled: true},
	{variant: "together", before: true},
	{variant: "short_lived_first", after: true},
	{variant: "compaction", compacts: true},
}

// One variant's data.
type workload struct {
	way
	kept               [rounds][]*record
	keptValues         [rounds][]byte
	burst              []*record
	burstValues        []byte
	idle               []*record
	live, peak, copied uint64
	sum                uint64
	chosen             []int
}

func burstBytes() int {
	if small {
		return 2 << 20
	}
	return 16 << 20
}

func keptCount() int             { return burstBytes() / perKept }
func groupSize(round int) int    { return perKept / sizes[round] }
func recordCount(round int) int  { return keptCount() * groupSize(round) }
func newRecord(size int) *record { return (*record)(unsafe.Pointer(&make([]byte, size)[0])) }

func (r *record) bytes(size int) []byte { return unsafe.Slice((*byte)(unsafe.Pointer(r)), size) }

func valueAt(values []byte, round, i int) *record {
	return (*record)(unsafe.Pointer(&values[i*sizes[round]]))
}

func (r *record) fill(round, i int) {
	r.key = uint64(round)<<32 | uint64(i)
	r.size = uint64(sizes[round])
	rest := r.bytes(sizes[round])[unsafe.Sizeof(*r):]
	for j := range rest {
		rest[j] = byte(i)
	}
}

func (r *record) use() uint64 { return r.key + uint64(r.bytes(int(r.size))[r.size-1]) }

func (r *record) check(round int) {
	if r.key>>32 != uint64(round) || r.size != uint64(sizes[round]) || r.bytes(int(r.size))[r.size-1] != byte(r.key) {
		die(1, "a record of round %d was lost", round+1)
	}
}

func (s *workload) takeBuffer() *record {
	if len(s.idle) == 0 {
		s.live += bufferBytes
		return newRecord(bufferBytes)
	}
	last := len(s.idle) - 1
	buffer := s.idle[last]
	s.idle[last] = nil
	s.idle = s.idle[:last]
	return buffer
}

func (s *workload) emptyPool() {
	s.live -= bufferBytes * uint64(len(s.idle))
	for i := range s.idle {
		s.idle[i] = nil
	}
	s.idle = s.idle[:0]
}

func (s *workload) notePeak() {
	if usage := peek().HeapUsage; usage > s.peak {
		s.peak = usage
	}
}

func (s *workload) makeBurst(round int) {
	count := recordCount(round)
	if s.values {
		s.burstValues = make([]byte, count*sizes[round])
		for i := 0; i < count; i++ {
			valueAt(s.burstValues, round, i).fill(round, i)
		}
		return
	}
	s.burst = make([]*record, count)
	for i := range s.burst {
		if s.pooled {
			s.burst[i] = s.takeBuffer()
		} else {
			s.burst[i] = newRecord(sizes[round])
		}
		s.burst[i].fill(round, i)
	}
}

func (s *workload) compute(round int) {
	for i := 0; i < recordCount(round); i++ {
		if s.values {
			s.sum += valueAt(s.burstValues, round, i).use()
		} else {
			s.sum += s.burst[i].use()
		}
	}
}

func (s *workload) makeRoom(round int) {
	s.kept[round] = make([]*record, keptCount())
	for i := range s.kept[round] {
		s.kept[round][i] = newRecord(sizes[round])
	}
}

func (s *workload) keep(round int) {
	if !s.before {
		s.kept[round] = make([]*record, keptCount())
	}
	for group := range s.kept[round] {
		place := &s.burst[group*groupSize(round)+s.chosen[group]]
		if s.before {
			copy(s.kept[round][group].bytes(sizes[round]), (*place).bytes(sizes[round]))
			continue
		}
		s.kept[round][group] = *place
		*place = nil
	}
}

func (s *workload) keepValues(round int) {
	size := sizes[round]
	s.keptValues[round] = make([]byte, keptCount()*size)
	for group := 0; group < keptCount(); group++ {
		from := (group*groupSize(round) + s.chosen[group]) * size
		copy(s.keptValues[round][group*size:(group+1)*size], s.burstValues[from:from+size])
	}
}

func (s *workload) dropBurst() {
	if s.pooled {
		for _, buffer := range s.burst {
			if buffer != nil {
				s.idle = append(s.idle, buffer)
			}
		}
	}
	s.burst, s.burstValues = nil, nil
}

func (s *workload) makeKept(round int) {
	s.makeRoom(round)
	for group, r := range s.kept[round] {
		r.fill(round, group*groupSize(round)+s.chosen[group])
	}
}

func (s *workload) compact(rounds int) {
	for round := 0; round < rounds; round++ {
		for i, old := range s.kept[round] {
			moved := newRecord(sizes[round])
			copy(moved.bytes(sizes[round]), old.bytes(sizes[round]))
			s.kept[round][i] = moved
			s.copied += uint64(sizes[round])
		}
	}
}

func (s *workload) playRound(round int) {
	s.chosen = make([]int, keptCount())
	for i := range s.chosen {
		s.chosen[i] = int(below(uint64(groupSize(round))))
	}
	if s.before {
		s.makeRoom(round)
	}
	s.makeBurst(round)
	s.notePeak()
	s.compute(round)
	if s.values {
		s.keepValues(round)
	} else if !s.after {
		s.keep(round)
	}
	s.dropBurst()
	if s.after {
		s.makeKept(round)
	}
	if s.compacts && (round+1)%compactRounds == 0 {
		s.compact(round + 1)
	}
	if !s.pooled {
		s.live += uint64(keptCount() * sizes[round])
	}
	if !s.values {
		s.live += uint64(keptCount() * 8)
	}
	s.chosen = nil
}

func (s *workload) verify() {
	for round := 0; round < rounds; round++ {
		for i := 0; i < keptCount(); i++ {
			if s.values {
				valueAt(s.keptValues[round], round, i).check(round)
			} else {
				s.kept[round][i].check(round)
			}
		}
	}
}

func (s *workload) measure(t int) {
	measure(s.variant, float64(t), s.live, "peak=%d;copied=%d", s.peak, s.copied)
}

func part(variant string) {
	s := &workload{}
	for _, w := range ways {
		if w.variant == variant {
			s.way = w
		}
	}
	if s.variant == "" {
		die(1, "there is no variant %s", variant)
	}
	if s.pooled {
		s.idle = make([]*record, 0, recordCount(0))
		s.live += uint64(cap(s.idle) * 8)
	}
	for round := 0; round < rounds; round++ {
		s.playRound(round)
		s.measure(round + 1)
	}
	if s.pooled {
		s.emptyPool()
		s.measure(rounds + 1)
	}
	s.verify()
}

const maxLeftPercent = 10

func run() {
	for i, w := range ways {
		runParts(w.variant)
		progress(i+1, len(ways))
	}
	baseline := find(ways[0].variant, rounds)
	expect(baseline.Fragmentation > int64(baseline.HeapUsage/2),
		"the baseline's max fragmentation, %.2f MiB, is not even half of its heap usage", baseline.fragmentation())
	for _, w := range ways[1:] {
		row := find(w.variant, rounds)
		left := 100 * row.fragmentation() / baseline.fragmentation()
		row.addExtra("left_percent=%.2f;usage_left_percent=%.2f", left,
			100*float64(row.HeapUsage)/float64(baseline.HeapUsage))
		expect(left < maxLeftPercent, "%s leaves %.1f %% of the baseline's max fragmentation (%.2f MiB)", w.variant, left,
			baseline.fragmentation())
	}
}

func main() {
	runScenario(&scenario{
		name:     "mitigations",
		question: "How much does each advice against fragmentation help?",
		workload: "Eight rounds, each 16 MiB of records of another size, one of every 8 KiB of which is kept.",
		metric:   "Max fragmentation after the last round, after collecting and giving back.",
		finding: "Arrays of values, a buffer pool, allocating survivors together (before or after the short-lived) and " +
			"compaction each remove more than 90 % of the max fragmentation of an array of pointers.",
		run:  run,
		part: part,
	})
}
