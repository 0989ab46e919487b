package actorkit_test

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/actorkit"
	"github.com/parley-rt/parley/libs/actorkit/actorkittest"
)

// hosts are addresses of this machine that can have the same ports.
var hosts = []string{"127.0.0.2", "127.0.0.3", "127.0.0.4"}

// samePort returns a port that is free on all hosts.
func samePort(t *testing.T) int {
	t.Helper()
next:
	for range 100 {
		port, err := actorkit.FreePort(hosts[0])
		require.NoError(t, err)
		for _, host := range hosts[1:] {
			l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
			if err != nil {
				continue next
			}
			require.NoError(t, l.Close())
		}
		return port
	}
	require.Fail(t, "no port is free on all hosts")
	return 0
}

// form starts three nodes, each with a finder of its own, and waits until they are one cluster. Those of one process cannot wait
// for each other, see TestStartWaitsForItsQuorum.
func form(t *testing.T, system string, port int, finder func() actorkit.Finder) {
	t.Helper()
	var nodes []*actorkit.Node
	for i, host := range hosts {
		nodes = append(nodes, actorkittest.StartNode(t, system+strconv.Itoa(i), new(actorkittest.Recorder), func(c *actorkit.NodeConfig) {
			c.System, c.Host, c.DiscoveryPort, c.Finder = system, host, port, finder()
		}))
	}
	actorkittest.WaitMembers(t, nodes...)
}

func TestNodesFindEachOtherBySeeds(t *testing.T) {
	t.Parallel()
	port := samePort(t)
	var seeds []string
	for _, host := range hosts {
		seeds = append(seeds, net.JoinHostPort(host, strconv.Itoa(port)))
	}
	form(t, "seeds", port, func() actorkit.Finder { return actorkit.SeedFinder(seeds, nil) })
}

func TestNodesFindEachOtherByNATS(t *testing.T) {
	t.Parallel()
	port, err := actorkit.FreePort("127.0.0.1")
	require.NoError(t, err)
	address := "nats://parley:secret@127.0.0.1:" + strconv.Itoa(port)

	alone := actorkit.NATSFinder(actorkit.NATSServer{URL: address}, "nobody")
	require.NoError(t, alone.Open("127.0.0.1:1"), "the server may come later")
	defer func() { require.NoError(t, alone.Close()) }()
	_, err = alone.Find(t.Context())
	require.ErrorContains(t, err, "not connected to nats")

	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: port, Username: "parley", Password: "secret", NoSigs: true, NoLog: true})
	require.NoError(t, err)
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	require.Eventually(t, func() bool {
		found, err := alone.Find(t.Context())
		return err == nil && slices.Equal(found, []string{"127.0.0.1:1"})
	}, waitFor, 10*time.Millisecond)
	withOptions := actorkit.NATSServer{
		URL: strings.Replace(address, "parley:secret@", "", 1), Options: []nats.Option{nats.UserInfo("parley", "secret")},
	}
	form(t, "nats", samePort(t), func() actorkit.Finder { return actorkit.NATSFinder(withOptions, "nats") })

	found, err := alone.Find(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"127.0.0.1:1"}, found, "other clusters are out of sight")

	stranger := actorkit.NATSFinder(actorkit.NATSServer{URL: "nats://127.0.0.1:" + strconv.Itoa(port)}, "nobody")
	require.NoError(t, stranger.Open("127.0.0.1:2"))
	defer func() { require.NoError(t, stranger.Close()) }()
	require.Eventually(t, func() bool {
		_, err := stranger.Find(t.Context())
		return strings.Contains(err.Error(), "Authorization Violation")
	}, waitFor, 50*time.Millisecond, "it says why")
}

// dnsServer answers for names with addresses.
func dnsServer(t *testing.T, records map[string][]string) *net.Resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	ready := make(chan struct{})
	s := &dns.Server{PacketConn: conn, NotifyStartedFunc: func() { close(ready) }, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg)
		m.SetReply(q)
		addrs, known := records[q.Question[0].Name]
		if !known {
			m.Rcode = dns.RcodeNameError
		}
		if q.Question[0].Qtype == dns.TypeA {
			for _, a := range addrs {
				m.Answer = append(m.Answer, &dns.A{
					Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 1}, A: net.ParseIP(a),
				})
			}
		}
		_ = w.WriteMsg(m)
	})}
	done := make(chan error, 1)
	go func() { done <- s.ActivateAndServe() }()
	<-ready
	t.Cleanup(func() {
		require.NoError(t, s.Shutdown())
		require.NoError(t, <-done)
	})
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

func TestNodesFindEachOtherByDNS(t *testing.T) {
	t.Parallel()
	port := samePort(t)
	resolver := dnsServer(t, map[string][]string{"rooms.parley.svc.": append([]string{"127.0.0.99"}, hosts...)})
	form(t, "dns", port, func() actorkit.Finder {
		return actorkit.SeedFinder([]string{net.JoinHostPort("rooms.parley.svc.", strconv.Itoa(port)), "old.parley.svc.:1"}, resolver)
	})
	_, err := actorkit.SeedFinder([]string{"old.parley.svc.:1"}, resolver).Find(t.Context())
	require.ErrorContains(t, err, `look up seed "old.parley.svc.:1"`)
}

// kubernetes is an API server with pods.
type kubernetes struct {
	t     *testing.T
	token string
	pods  []map[string]any
}

func (k *kubernetes) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "Bearer "+k.token {
		w.WriteHeader(http.StatusForbidden)
		_, _ = w.Write([]byte(`{"kind":"Status","message":"pods is forbidden: User \"x\" cannot list resource \"pods\""}`))
		return
	}
	q := r.URL.Query()
	if r.URL.Path != "/api/v1/namespaces/chat/pods" || q.Get("labelSelector") != "app=rooms,tier=a" || q.Get("fieldSelector") != "status.phase=Running" {
		k.t.Errorf("unexpected request %s", r.URL)
	}
	// A pod a page.
	at, _ := strconv.Atoi(q.Get("continue"))
	list := map[string]any{"kind": "PodList", "items": k.pods[at : at+1]}
	if at+1 < len(k.pods) {
		list["metadata"] = map[string]any{"continue": strconv.Itoa(at + 1)}
	}
	_ = json.NewEncoder(w).Encode(list)
}

func TestNodesFindEachOtherByKubernetes(t *testing.T) {
	t.Parallel()
	api := &kubernetes{t: t, token: "a token"}
	for _, host := range hosts {
		api.pods = append(api.pods, map[string]any{"metadata": map[string]any{"name": host}, "status": map[string]any{
			"podIP": host, "phase": "Running", "conditions": []any{map[string]any{"type": "Ready", "status": "False"}},
		}})
	}
	api.pods = append(api.pods,
		map[string]any{"status": map[string]any{"phase": "Running"}}, // without an address yet
		map[string]any{"metadata": map[string]any{"deletionTimestamp": "2026-01-01T00:00:00Z"}, "status": map[string]any{"podIP": "127.0.0.98"}})
	s := httptest.NewTLSServer(api)
	t.Cleanup(s.Close)
	account := t.TempDir()
	write := func(name, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(account, name), []byte(text), 0o600))
	}
	write("namespace", "chat\n")
	write("token", "a token\n")
	write("ca.crt", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})))
	config := actorkit.KubernetesConfig{Selector: "app=rooms,tier=a", Port: samePort(t), Server: s.URL, Account: account}

	finder := actorkit.KubernetesFinder(config)
	require.NoError(t, finder.Open(""))
	found, err := finder.Find(t.Context())
	require.NoError(t, err)
	require.Len(t, found, 3)
	write("token", "expired")
	_, err = finder.Find(t.Context())
	require.ErrorContains(t, err, "403 Forbidden: pods is forbidden")
	write("token", "a token\n")
	_, err = finder.Find(t.Context())
	require.NoError(t, err, "a replaced token is read")
	require.NoError(t, finder.Close())

	form(t, "kubernetes", config.Port, func() actorkit.Finder { return actorkit.KubernetesFinder(config) })
}

func TestKubernetesFinderOutsideAPod(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	require.ErrorContains(t, actorkit.KubernetesFinder(actorkit.KubernetesConfig{}).Open(""), "this is not a pod")
}

// A start waits for its quorum for as long as it takes, and says so; the nodes may come in any order and at the same time.
func TestStartWaitsForItsQuorum(t *testing.T) {
	t.Parallel()
	port := samePort(t)
	var seeds []string
	for _, host := range hosts {
		seeds = append(seeds, net.JoinHostPort(host, strconv.Itoa(port)))
	}
	config := func(i int) processConfig {
		return processConfig{System: "quorum", Node: "quorum" + strconv.Itoa(i), Host: hosts[i], Port: port, Seeds: seeds, Quorum: 2, Dir: t.TempDir()}
	}
	first := startProcess(t, config(0))
	first.expect(t, "waiting: 1 of the 2 nodes that are needed answer: "+seeds[0])
	require.True(t, actorkit.Alive(t.Context(), "quorum", seeds[0]), "who waits can be seen by those who come")

	others := []*process{startProcess(t, config(1)), startProcess(t, config(2))}
	first.expect(t, "waiting: over")
	for _, p := range append(others, first) {
		p.expect(t, "members: "+strings.Join(seeds, " "))
	}
}

// A process that hangs accepts connections, its kernel does; it is not there all the same.
func TestAliveIsMoreThanAConnection(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	begin := time.Now()
	require.False(t, actorkit.Alive(t.Context(), "s", l.Addr().String()))
	require.GreaterOrEqual(t, time.Since(begin), time.Second, "it had its time to answer")
	require.False(t, actorkit.Alive(t.Context(), "s", "127.0.0.1:1"))
	n := actorkittest.StartNode(t, "alive", new(actorkittest.Recorder))
	require.True(t, actorkit.Alive(t.Context(), "test-alive", n.DiscoveryAddr()))
}
