// compaction_stores.go - the twin of stores.c and tree.c: an array, a list, a hash table and a tree that shares nodes.
package main

import "unsafe"

const (
	buckets  = 1 << 13
	versions = 8
)

// ---- what the structures hold ----

type payload struct {
	key        uint64
	size, refs uint32
}

// Objects without pointers: made as bytes.
func newBytes(size int) *payload { return (*payload)(unsafe.Pointer(&make([]byte, size)[0])) }

func (p *payload) bytes() []byte { return unsafe.Slice((*byte)(unsafe.Pointer(p)), int(p.size)) }

func newPayload(key uint64, size int) *payload {
	p := newBytes(size)
	p.key, p.size = key, uint32(size)
	rest := p.bytes()[unsafe.Sizeof(*p):]
	for i := range rest {
		rest[i] = byte(key)
	}
	return p
}

func (p *payload) verify() {
	for _, b := range p.bytes()[unsafe.Sizeof(*p):] {
		if b != byte(p.key) {
			die(1, "a payload was lost or overwritten")
		}
	}
}

// Of entries met in a row, one of each step is to go, at a random place among them.
type going struct{ step, at, chosen, left int }

func startGoing(entries, count int) *going {
	step := entries / count
	return &going{step: step, at: step, left: count}
}

func (g *going) goes() bool {
	if g.at == g.step {
		g.at = 0
		g.chosen = int(below(uint64(g.step)))
	}
	if g.left == 0 {
		return false
	}
	g.at++
	if g.at-1 != g.chosen {
		return false
	}
	g.left--
	return true
}

type store interface {
	add(p *payload)
	remove(count int)
	tick()
	compact(c *compactor)
	verify() int
	entries() int
	liveBytes() uint64
}

// ---- a flat array ----

type arrayStore struct{ array []*payload }

func (s *arrayStore) add(p *payload) {
	if len(s.array) == cap(s.array) {
		room := 2 * cap(s.array)
		if room == 0 {
			room = 1024
		}
		s.array = append(make([]*payload, 0, room), s.array...)
	}
	s.array = append(s.array, p)
}

func (s *arrayStore) remove(count int) {
	g, rest := startGoing(len(s.array), count), 0
	for _, p := range s.array {
		if !g.goes() {
			s.array[rest] = p
			rest++
		}
	}
	for i := rest; i < len(s.array); i++ {
		s.array[i] = nil
	}
	s.array = s.array[:rest]
}

func (s *arrayStore) tick() {}

func (s *arrayStore) compact(c *compactor) {
	for i, p := range s.array {
		s.array[i] = c.copyPayload(p)
	}
}

func (s *arrayStore) verify() int {
	for _, p := range s.array {
		p.verify()
	}
	return len(s.array)
}

func (s *arrayStore) entries() int { return len(s.array) }

func (s *arrayStore) liveBytes() uint64 {
	bytes := uint64(cap(s.array)) * 8
	for _, p := range s.array {
		bytes += uint64(p.size)
	}
	return bytes
}

// ---- chains: a list is one, a hash table has many ----

type node struct {
	next    *node
	payload *payload
	key     uint64
	unused  uint64
}

type chain struct{ first *node }

func (h *chain) add(p *payload) { h.first = &node{next: h.first, payload: p, key: p.key} }

func (h *chain) remove(g *going) int {
	gone := 0
	for link := &h.first; *link != nil; {
		if g.goes() {
			*link = (*link).next
			gone++
		} else {
			link = &(*link).next
		}
	}
	return gone
}

func (h *chain) compact(c *compactor) {
	for link := &h.first; *link != nil; link = &(*link).next {
		moved := new(node)
		*moved = **link
		c.count(unsafe.Sizeof(*moved))
		*link = moved
		moved.payload = c.copyPayload(moved.payload)
	}
}

func (h *chain) verify() int {
	n := 0
	for at := h.first; at != nil; at = at.next {
		if at.key != at.payload.key {
			die(1, "a node has another's payload")
		}
		at.payload.verify()
		n++
	}
	return n
}

func (h *chain) liveBytes() uint64 {
	bytes := uint64(0)
	for at := h.first; at != nil; at = at.next {
		bytes += uint64(unsafe.Sizeof(*at)) + uint64(at.payload.size)
	}
	return bytes
}

// A list is a hash table with one bucket.
type hashStore struct {
	buckets []chain
	count   int
}

func (s *hashStore) add(p *payload) {
	s.buckets[p.key*0x9e3779b97f4a7c15>>32&uint64(len(s.buckets)-1)].add(p)
	s.count++
}

func (s *hashStore) remove(count int) {
	g := startGoing(s.count, count)
	for i := range s.buckets {
		s.count -= s.buckets[i].remove(g)
	}
}

func (s *hashStore) tick() {}

func (s *hashStore) compact(c *compactor) {
	for i := range s.buckets {
		s.buckets[i].compact(c)
	}
}

func (s *hashStore) verify() int {
	n := 0
	for i := range s.buckets {
		n += s.buckets[i].verify()
	}
	return n
}

func (s *hashStore) entries() int { return s.count }

func (s *hashStore) liveBytes() uint64 {
	bytes := uint64(len(s.buckets)) * 8
	for i := range s.buckets {
		bytes += s.buckets[i].liveBytes()
	}
	return bytes
}

// ---- a tree whose versions share nodes ----

type tree struct {
	left, right *tree
	payload     *payload
	key         uint64
	unused      uint64 // a count of references in C
}

type treeStore struct {
	versions      [versions]*tree
	newest, count int
}

func (t *tree) again(left, right *tree) *tree {
	return &tree{left: left, right: right, payload: t.payload, key: t.key}
}

func inserted(t *tree, p *payload) *tree {
	if t == nil {
		return &tree{payload: p, key: p.key}
	}
	if p.key < t.key {
		return t.again(inserted(t.left, p), t.right)
	}
	return t.again(t.left, inserted(t.right, p))
}

func removed(t *tree, key uint64) *tree {
	switch {
	case key < t.key:
		return t.again(removed(t.left, key), t.right)
	case key > t.key:
		return t.again(t.left, removed(t.right, key))
	case t.left == nil:
		return t.right
	case t.right == nil:
		return t.left
	}
	least := t.right
	for least.left != nil {
		least = least.left
	}
	return least.again(t.left, removed(t.right, least.key))
}

func randomKey(t *tree) uint64 {
	for dice := random(); ; {
		next := t.right
		if dice&1 != 0 {
			next = t.left
		}
		if next == nil || dice&14 == 0 {
			return t.key
		}
		t = next
		if dice >>= 4; dice == 0 {
			dice = random()
		}
	}
}

func (s *treeStore) add(p *payload) {
	s.versions[s.newest] = inserted(s.versions[s.newest], p)
	s.count++
}

func (s *treeStore) remove(count int) {
	for ; count > 0; count-- {
		now := s.versions[s.newest]
		s.versions[s.newest] = removed(now, randomKey(now))
		s.count--
	}
}

func (s *treeStore) tick() {
	now := s.versions[s.newest]
	s.newest = (s.newest + 1) % versions
	s.versions[s.newest] = now
}

func (s *treeStore) compacted(c *compactor, old *tree) *tree {
	if old == nil {
		return nil
	}
	if moved, ok := c.forwarding[unsafe.Pointer(old)]; ok {
		return (*tree)(moved)
	}
	moved := new(tree)
	*moved = *old
	c.count(unsafe.Sizeof(*moved))
	c.forwarding[unsafe.Pointer(old)] = unsafe.Pointer(moved)
	moved.left = s.compacted(c, old.left)
	moved.right = s.compacted(c, old.right)
	if to, ok := c.forwarding[unsafe.Pointer(old.payload)]; ok {
		moved.payload = (*payload)(to)
	} else {
		moved.payload = c.copyPayload(old.payload)
		c.forwarding[unsafe.Pointer(old.payload)] = unsafe.Pointer(moved.payload)
	}
	return moved
}

func (s *treeStore) compact(c *compactor) {
	c.forwarding = make(map[unsafe.Pointer]unsafe.Pointer)
	for i := range s.versions {
		s.versions[i] = s.compacted(c, s.versions[i])
	}
	c.forwarding = nil
}

func (t *tree) verify(low, high uint64) int {
	if t == nil {
		return 0
	}
	if t.key != t.payload.key || t.key < low || t.key > high {
		die(1, "a node is in a wrong place")
	}
	t.payload.verify()
	return t.left.verify(low, t.key) + 1 + t.right.verify(t.key, high)
}

func (s *treeStore) verify() int {
	for i := range s.versions {
		s.versions[i].verify(0, ^uint64(0))
	}
	return s.versions[s.newest].verify(0, ^uint64(0))
}

func (s *treeStore) entries() int { return s.count }

func (s *treeStore) liveBytes() uint64 {
	seen := make(map[unsafe.Pointer]bool)
	var walk func(t *tree) uint64
	walk = func(t *tree) uint64 {
		if t == nil || seen[unsafe.Pointer(t)] {
			return 0
		}
		seen[unsafe.Pointer(t)] = true
		bytes := uint64(40) // as asked for in C
		if !seen[unsafe.Pointer(t.payload)] {
			seen[unsafe.Pointer(t.payload)] = true
			bytes += uint64(t.payload.size)
		}
		return bytes + walk(t.left) + walk(t.right)
	}
	bytes := uint64(0)
	for i := range s.versions {
		bytes += walk(s.versions[i])
	}
	return bytes
}

var stores = []struct {
	name            string
	make            func() store
	objectsPerEntry float64
}{
	{"array", func() store { return &arrayStore{} }, 1},
	{"list", func() store { return &hashStore{buckets: make([]chain, 1)} }, 2},
	{"hash", func() store { return &hashStore{buckets: make([]chain, buckets)} }, 2},
	{"tree", func() store { return &treeStore{} }, 2},
}
