package ws

import "sync"

// Buffers of what was read and is not handled yet, and of writes that merge frames. Few sizes keep both the waste and the number of
// pools small. The tiny ones are for what is left between two reads.
const (
	tinyBuffer   = 512
	smallBuffer  = 4 << 10
	mediumBuffer = 16 << 10
	largeBuffer  = 64 << 10
)

type buffer struct{ b []byte }

// buffers hands out byte buffers by size class. The zero value is not usable; see newBuffers.
type buffers struct{ tiny, small, medium, large sync.Pool }

func newBuffers() *buffers {
	sized := func(n int) sync.Pool {
		return sync.Pool{New: func() any { return &buffer{b: make([]byte, 0, n)} }}
	}
	return &buffers{tiny: sized(tinyBuffer), small: sized(smallBuffer), medium: sized(mediumBuffer), large: sized(largeBuffer)}
}

// get returns an empty buffer of at least n bytes of capacity.
func (p *buffers) get(n int) *buffer {
	switch {
	case n <= tinyBuffer:
		return p.tiny.Get().(*buffer)
	case n <= smallBuffer:
		return p.small.Get().(*buffer)
	case n <= mediumBuffer:
		return p.medium.Get().(*buffer)
	case n <= largeBuffer:
		return p.large.Get().(*buffer)
	default:
		return &buffer{b: make([]byte, 0, n)}
	}
}

// put takes a buffer back. Odd sizes are left to the garbage collector.
func (p *buffers) put(b *buffer) {
	b.b = b.b[:0]
	switch cap(b.b) {
	case tinyBuffer:
		p.tiny.Put(b)
	case smallBuffer:
		p.small.Put(b)
	case mediumBuffer:
		p.medium.Put(b)
	case largeBuffer:
		p.large.Put(b)
	}
}

// grow returns a buffer with b's content and room for n bytes more than it has; b is taken back if it was replaced.
func (p *buffers) grow(b *buffer, n int) *buffer {
	if cap(b.b)-len(b.b) >= n {
		return b
	}
	bigger := p.get(max(len(b.b)+n, 2*cap(b.b)))
	bigger.b = append(bigger.b, b.b...)
	p.put(b)
	return bigger
}

// frameList is a queue of frames. Lists are pooled so that an idle connection holds none.
type frameList struct {
	frames [][]byte
	count  int // of frames, of which several may lie in one of those
}

// add queues a frame behind the others. Frames that lie behind one another become one.
func (l *frameList) add(f []byte) {
	if last := len(l.frames) - 1; last >= 0 && follows(l.frames[last], f) {
		l.frames[last] = l.frames[last][:len(l.frames[last])+len(f)]
	} else {
		l.frames = append(l.frames, f)
	}
	l.count++
}

// maxPooledList keeps one huge backlog from staying in the pool.
const maxPooledList = 1024

type frameLists struct{ pool sync.Pool }

func newFrameLists() *frameLists {
	return &frameLists{pool: sync.Pool{New: func() any { return &frameList{frames: make([][]byte, 0, 16)} }}}
}

func (p *frameLists) get() *frameList { return p.pool.Get().(*frameList) }

func (p *frameLists) put(l *frameList) {
	if cap(l.frames) > maxPooledList {
		return
	}
	clear(l.frames)
	l.frames, l.count = l.frames[:0], 0
	p.pool.Put(l)
}
