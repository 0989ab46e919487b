package cluster

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"testing"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"
)

// dnsAddress is where the server listens, for this process alone: resolv.conf has no place for another port than 53.
var dnsAddress = fmt.Sprintf("127.%d.%d.53", 1+rand.IntN(250), rand.IntN(250))

// hosts are addresses of this machine that can have the same ports.
var hosts = []string{"127.0.1.1", "127.0.1.2", "127.0.1.3", "127.0.1.4", "127.0.1.5", "127.0.1.6"}

// dnsServer answers for names with the addresses that the test says.
type dnsServer struct {
	mu      sync.Mutex
	records map[string][]string
	asked   map[string]int
}

func startDNS(t *testing.T) *dnsServer {
	t.Helper()
	s := &dnsServer{records: map[string][]string{}, asked: map[string]int{}}
	var listen net.ListenConfig
	conn, err := listen.ListenPacket(t.Context(), "udp", net.JoinHostPort(dnsAddress, "53"))
	require.NoError(t, err, "this test takes root: it serves DNS on port 53 of a loopback address, and shows it to nodes as their resolver")
	ready := make(chan struct{})
	server := &dns.Server{PacketConn: conn, NotifyStartedFunc: func() { close(ready) }, Handler: s}
	done := make(chan error, 1)
	go func() { done <- server.ActivateAndServe() }()
	<-ready
	t.Cleanup(func() {
		require.NoError(t, server.Shutdown())
		require.NoError(t, <-done)
		s.mu.Lock()
		defer s.mu.Unlock()
		for name := range s.records {
			require.Positive(t, s.asked[name], "nobody asked for %s", name)
		}
	})
	return s
}

// say changes the addresses of a name.
func (s *dnsServer) say(name string, addresses ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.records[dns.Fqdn(name)] = addresses
}

// ServeDNS implements dns.Handler.
func (s *dnsServer) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	m := new(dns.Msg)
	m.SetReply(q)
	question := q.Question[0]
	s.mu.Lock()
	addresses, known := s.records[question.Name]
	s.asked[question.Name]++
	s.mu.Unlock()
	if !known {
		m.Rcode = dns.RcodeNameError
	}
	if question.Qtype == dns.TypeA {
		for _, a := range addresses {
			m.Answer = append(m.Answer, &dns.A{
				Hdr: dns.RR_Header{Name: question.Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 1}, A: net.ParseIP(a),
			})
		}
	}
	_ = w.WriteMsg(m) // who asked asks again
}

// samePort returns a port that is free on all hosts.
func samePort(t *testing.T) string {
	t.Helper()
	var listen net.ListenConfig
next:
	for range 100 {
		port := strconv.Itoa(20_000 + rand.IntN(10_000))
		for _, host := range hosts {
			l, err := listen.Listen(t.Context(), "tcp", net.JoinHostPort(host, port))
			if err != nil {
				continue next
			}
			require.NoError(t, l.Close())
		}
		return port
	}
	require.Fail(t, "no port is free on all hosts")
	return ""
}
