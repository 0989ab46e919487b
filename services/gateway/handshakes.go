package gateway

import (
	"container/list"
	"net"
	"net/http"
	"sync"
)

// handshakes are the sockets that the HTTP server has and that are no connections: those whose request did not come yet, and those
// that browsers keep open behind the page. They are no more than a bound: for one more, the one that was silent longest is cut.
// A client sends its request at once, so it is none of those that say nothing, or say it byte by byte, that are in its way.
//
//	Accept ──► waits for a request ──► is answered ──► upgraded: a connection, and not counted here any more
//	                ▲                      │
//	                └── kept by a browser ◄┘
//
// Safe for concurrent use.
type handshakes struct {
	mu     sync.Mutex
	most   int
	narrow int       // the bound when it is less and above 0
	order  list.List // of net.Conn; the first was silent longest
	places map[net.Conn]*list.Element
	cut    int64 // so far
}

func newHandshakes(most int) *handshakes {
	return &handshakes{most: most, places: map[net.Conn]*list.Element{}}
}

// observe is http.Server's ConnState.
func (h *handshakes) observe(c net.Conn, state http.ConnState) {
	for _, one := range h.note(c, state) {
		cut(one)
	}
}

// setNarrow lets at most n wait; 0: as many as usual.
func (h *handshakes) setNarrow(n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.narrow = n
}

// note keeps count and returns the sockets that have to go.
func (h *handshakes) note(c net.Conn, state http.ConnState) (over []net.Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	place, known := h.places[c]
	switch state {
	case http.StateNew:
		h.places[c] = h.order.PushBack(c)
	case http.StateActive, http.StateIdle:
		if known {
			h.order.MoveToBack(place)
		}
	case http.StateHijacked, http.StateClosed:
		h.forget(c, place)
	}
	most := h.most
	if h.narrow > 0 {
		most = min(most, h.narrow)
	}
	for h.order.Len() > most {
		place := h.order.Front()
		first := place.Value.(net.Conn) //nolint:forcetypeassert // nothing else is in it
		h.forget(first, place)
		h.cut++
		over = append(over, first)
	}
	return over
}

// forget takes a socket out; place is nil when it is not in.
func (h *handshakes) forget(c net.Conn, place *list.Element) {
	if place != nil {
		h.order.Remove(place)
		delete(h.places, c)
	}
}

// state is for metrics.
func (h *handshakes) state() (open int, cut int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.order.Len(), h.cut
}

// cut closes a socket without the farewell of TLS, which would be written to somebody who may not read.
func cut(c net.Conn) {
	if under, ok := c.(interface{ NetConn() net.Conn }); ok {
		c = under.NetConn()
	}
	_ = c.Close() // its goroutine finds out
}
