package ask

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/parley-rt/parley/libs/actorkit"
	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
)

// cluster plays the nodes: what each says to a question, given how often it was asked before.
type cluster struct {
	t     testing.TB
	asker *Asker

	mu    sync.Mutex
	nodes []string
	say   map[string]func(n int, f *roomv1.Frame) *roomv1.Frame // nil answer: silence
	fail  map[string]error
	asked []string
	seen  []*roomv1.Frame
}

const self = "a"

func newCluster(t testing.TB, edit ...func(*Config)) *cluster {
	c := &cluster{t: t, say: map[string]func(int, *roomv1.Frame) *roomv1.Frame{}, fail: map[string]error{}}
	c.nodes = []string{"b", "a", "c"}
	cfg := Config{
		Self:  self,
		Send:  c.send,
		Local: func(f actorkit.Frame) error { return c.send(self, f) },
		Nodes: func(string) []string {
			c.mu.Lock()
			defer c.mu.Unlock()
			return slices.Clone(c.nodes)
		},
		SilenceAfter: 500 * time.Millisecond, Within: 20 * time.Second, RetryFirst: time.Millisecond,
	}
	for _, e := range edit {
		e(&cfg)
	}
	c.asker = New(cfg)
	return c
}

func (c *cluster) send(node string, f actorkit.Frame) error {
	frame := new(roomv1.Frame)
	require.NoError(c.t, proto.Unmarshal(f.Body, frame))
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.fail[node]; err != nil {
		return fmt.Errorf("send to %s: %w", node, err)
	}
	n := 0
	for _, a := range c.asked {
		if a == node {
			n++
		}
	}
	c.asked = append(c.asked, node)
	c.seen = append(c.seen, frame)
	if say := c.say[node]; say != nil {
		if answer := say(n, frame); answer != nil {
			answer.RoomId, answer.Connection, answer.Request = frame.RoomId, frame.Connection, frame.Request
			go c.asker.Answer(node, answer)
		}
	}
	return nil
}

func (c *cluster) trail() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.asked)
}

func describe() *roomv1.Frame {
	return &roomv1.Frame{RoomId: "lobby", Kind: &roomv1.Frame_Describe{Describe: &roomv1.Describe{}}}
}

func answering(node string) func(int, *roomv1.Frame) *roomv1.Frame {
	return func(int, *roomv1.Frame) *roomv1.Frame {
		return &roomv1.Frame{Kind: &roomv1.Frame_Description{Description: &roomv1.Description{Node: node}}}
	}
}

func moving(owner string) func(int, *roomv1.Frame) *roomv1.Frame {
	return func(int, *roomv1.Frame) *roomv1.Frame {
		return &roomv1.Frame{Kind: &roomv1.Frame_Moved{Moved: &roomv1.Moved{Owner: owner}}}
	}
}

func refusing(code clientv1.ErrorCode) func(int, *roomv1.Frame) *roomv1.Frame {
	return func(int, *roomv1.Frame) *roomv1.Frame {
		return &roomv1.Frame{Kind: &roomv1.Frame_Refused{Refused: &roomv1.Refused{Code: int32(code), Message: "no", RetryAfterMs: 1}}}
	}
}

// first says one thing at first and another from then on.
func first(times int, a, b func(int, *roomv1.Frame) *roomv1.Frame) func(int, *roomv1.Frame) *roomv1.Frame {
	return func(n int, f *roomv1.Frame) *roomv1.Frame {
		if n < times {
			return a(n, f)
		}
		return b(n, f)
	}
}

func silent(int, *roomv1.Frame) *roomv1.Frame { return nil }

// ranked are the nodes in the order in which they are asked about the lobby when nothing is known.
func (c *cluster) ranked() (string, string, string) {
	return c.nodes[0], c.nodes[1], c.nodes[2]
}

func (c *cluster) ask(want string) {
	c.t.Helper()
	answer, err := c.asker.Ask(c.t.Context(), describe())
	require.NoError(c.t, err)
	require.Equal(c.t, want, answer.GetDescription().GetNode())
	require.Empty(c.t, c.asker.waiting)
}

func TestWhoIsAsked(t *testing.T) {
	t.Parallel()
	for name, set := range map[string]func(c *cluster, best, second, third string) (trail []string){
		"the best candidate": func(c *cluster, best, _, _ string) []string {
			c.say[best] = answering("room")
			return []string{best}
		},
		"the owner that the candidate names": func(c *cluster, best, _, third string) []string {
			c.say[best], c.say[third] = moving(third), answering("room")
			return []string{best, third}
		},
		"another candidate when the first knows no owner": func(c *cluster, best, second, _ string) []string {
			c.say[best], c.say[second] = moving(""), answering("room")
			return []string{best, second}
		},
		"the same node again when the room starts anew there": func(c *cluster, best, _, _ string) []string {
			c.say[best] = first(1, moving(best), answering("room"))
			return []string{best, best}
		},
		"the next candidate when a Link is down": func(c *cluster, best, second, _ string) []string {
			c.fail[best], c.say[second] = actorkit.ErrLinkDown, answering("room")
			return []string{second}
		},
		"the next candidate when a node is not known to the Links": func(c *cluster, best, second, third string) []string {
			c.fail[best], c.fail[second], c.say[third] = actorkit.ErrUnknownPeer, actorkit.ErrLinkDown, answering("room")
			return []string{third}
		},
		"the next candidate when a node is silent": func(c *cluster, best, second, _ string) []string {
			c.say[best], c.say[second] = silent, answering("room")
			return []string{best, second}
		},
		"the owner again when it was only slow": func(c *cluster, best, second, _ string) []string {
			c.say[best], c.say[second] = first(1, silent, answering("room")), moving(best)
			return []string{best, second, best}
		},
		"everybody anew after a passing refusal": func(c *cluster, best, _, _ string) []string {
			c.say[best] = first(2, refusing(clientv1.ErrorCode_ERROR_CODE_UNAVAILABLE), answering("room"))
			return []string{best, best, best}
		},
		"in peace when nodes point at each other": func(c *cluster, best, second, _ string) []string {
			c.say[best], c.say[second] = first(2, moving(second), answering("room")), moving(best)
			return []string{best, second, best, second, second, best} // the last with a pause before
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCluster(t)
			best, second, third := c.ranked()
			trail := set(c, best, second, third)
			c.ask("room")
			require.Equal(t, trail, c.trail())
		})
	}
}

// L3: who cannot ask the journal is not asked for rooms while somebody else can be.
func TestBlindNodesAreAskedLast(t *testing.T) {
	t.Parallel()
	var blind string
	c := newCluster(t, func(cfg *Config) { cfg.Blind = func(node string) bool { return node == blind } })
	first, second, _ := c.ranked()
	c.say[first], c.say[second] = answering(first), answering(second)
	c.ask(first)
	blind = first
	c.ask(second)
	require.Equal(t, []string{first, second}, c.trail(), "though it was the owner")
	c.nodes = c.nodes[:0]
	c.nodes = append(c.nodes, first)
	c.ask(first)
}

func TestOwnerIsRemembered(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	best, second, third := c.ranked()
	c.say[best], c.say[third] = moving(third), answering("room")
	c.ask("room")
	c.ask("room")
	require.Equal(t, []string{best, third, third}, c.trail())

	c.mu.Lock()
	c.nodes = slices.DeleteFunc(c.nodes, func(n string) bool { return n == third })
	c.say[best], c.say[second] = answering("elsewhere"), answering("elsewhere")
	c.mu.Unlock()
	c.ask("elsewhere")
	require.NotContains(t, c.trail()[3:], third, "a node that is gone is not asked")
}

func TestDefiniteRefusalsEndTheQuestion(t *testing.T) {
	t.Parallel()
	for _, code := range []clientv1.ErrorCode{
		clientv1.ErrorCode_ERROR_CODE_INVALID_ARGUMENT, clientv1.ErrorCode_ERROR_CODE_TOO_LARGE, clientv1.ErrorCode_ERROR_CODE_BUSY,
	} {
		c := newCluster(t)
		best, _, _ := c.ranked()
		c.say[best] = refusing(code)
		_, err := c.asker.Ask(t.Context(), describe())
		var refused *RefusedError
		require.ErrorAs(t, err, &refused)
		require.Equal(t, code, refused.Code)
		require.Equal(t, time.Millisecond, refused.RetryAfter)
		require.Equal(t, []string{best}, c.trail())
	}
}

// Whether something may have happened decides what the asker is told when time is up.
func TestTimeIsUp(t *testing.T) {
	t.Parallel()
	short := func(c *Config) { c.Within, c.SilenceAfter = 100*time.Millisecond, 20*time.Millisecond }
	for name, test := range map[string]struct {
		set  func(c *cluster, node string)
		want error
		// Somebody answers every attempt: the end may come while one is on its way.
		answered bool
	}{
		"nobody is there":        {func(c *cluster, _ string) { c.nodes = nil }, ErrUnreachable, false},
		"no Link is up":          {func(c *cluster, n string) { c.fail[n] = actorkit.ErrLinkDown }, ErrUnreachable, false},
		"the Link is full":       {func(c *cluster, n string) { c.fail[n] = actorkit.ErrLinkFull }, ErrUnreachable, false},
		"everybody is silent":    {func(c *cluster, n string) { c.say[n] = silent }, ErrUnanswered, false},
		"everybody refuses":      {func(c *cluster, n string) { c.say[n] = refusing(clientv1.ErrorCode_ERROR_CODE_UNAVAILABLE) }, ErrUnreachable, true},
		"nobody knows an owner":  {func(c *cluster, n string) { c.say[n] = moving("") }, ErrUnreachable, true},
		"the owner is not known": {func(c *cluster, n string) { c.say[n] = moving("gone") }, ErrUnreachable, true},
		"silent, then refused": {func(c *cluster, n string) {
			c.say[n] = first(1, silent, refusing(clientv1.ErrorCode_ERROR_CODE_UNAVAILABLE))
		}, ErrUnanswered, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCluster(t, short)
			for _, n := range c.nodes {
				test.set(c, n)
			}
			began := time.Now()
			_, err := c.asker.Ask(t.Context(), describe())
			require.Less(t, time.Since(began), 5*time.Second)
			require.Empty(t, c.asker.waiting)
			if test.answered && errors.Is(err, ErrUnanswered) {
				return
			}
			require.ErrorIs(t, err, test.want)
			other := map[error]error{ErrUnreachable: ErrUnanswered, ErrUnanswered: ErrUnreachable}[test.want]
			require.NotErrorIs(t, err, other)
		})
	}
}

func TestRefusalIsToldWhenTimeIsUp(t *testing.T) {
	t.Parallel()
	c := newCluster(t, func(c *Config) { c.Within = 50 * time.Millisecond })
	for _, n := range c.nodes {
		c.say[n] = refusing(clientv1.ErrorCode_ERROR_CODE_UNAVAILABLE)
	}
	_, err := c.asker.Ask(t.Context(), describe())
	var refused *RefusedError
	require.ErrorAs(t, err, &refused)
	require.Equal(t, clientv1.ErrorCode_ERROR_CODE_UNAVAILABLE, refused.Code)
}

func TestAskerGivesUpWithItsCaller(t *testing.T) {
	t.Parallel()
	c := newCluster(t, func(c *Config) { c.SilenceAfter = time.Minute })
	ctx, cancel := context.WithCancel(t.Context())
	best, _, _ := c.ranked()
	c.say[best] = func(int, *roomv1.Frame) *roomv1.Frame { cancel(); return nil }
	_, err := c.asker.Ask(ctx, describe())
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, err, ErrUnanswered)
	require.Empty(t, c.asker.waiting)
}

// A Link that goes down ends the wait at once.
func TestLinkDownEndsTheWait(t *testing.T) {
	t.Parallel()
	c := newCluster(t, func(c *Config) { c.SilenceAfter = time.Minute })
	best, second, _ := c.ranked()
	c.say[best] = func(int, *roomv1.Frame) *roomv1.Frame {
		go c.asker.LinkDown(best)
		return nil
	}
	c.say[second] = answering("room")
	c.ask("room")
	require.Equal(t, []string{best, second}, c.trail())
}

// What answers no open attempt is ignored: other nodes, other lives of this one, earlier attempts.
func TestOnlyTheRightAnswerCounts(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	best, second, _ := c.ranked()
	wrong := func() *roomv1.Frame { return answering("wrong")(0, nil) }
	var early *roomv1.Frame
	c.say[best] = func(_ int, f *roomv1.Frame) *roomv1.Frame {
		early = wrong()
		early.RoomId, early.Connection, early.Request = f.RoomId, f.Connection, f.Request
		for _, forged := range []struct {
			from       string
			connection uint64
			request    uint64
		}{{second, f.Connection, f.Request}, {best, f.Connection + 2, f.Request}, {best, f.Connection, f.Request + 1}, {best, 0, f.Request}} {
			answer := wrong()
			answer.Connection, answer.Request = forged.connection, forged.request
			go c.asker.Answer(forged.from, answer)
		}
		return nil
	}
	c.say[second] = func(n int, f *roomv1.Frame) *roomv1.Frame {
		go func() {
			c.asker.Answer(best, early) // late, to the attempt before
			answer := answering("room")(n, f)
			answer.Connection, answer.Request = f.Connection, f.Request
			c.asker.Answer(second, answer)
			c.asker.Answer(second, proto.Clone(answer).(*roomv1.Frame)) // and twice
		}()
		return nil
	}
	c.ask("room")
	require.Equal(t, []string{best, second}, c.trail())
	require.NotEqual(t, c.seen[0].Request, c.seen[1].Request)
	require.NotZero(t, c.seen[0].Connection)
}

func TestTooLargeIsNotTriedAgain(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	for _, n := range c.nodes {
		c.fail[n] = actorkit.ErrFrameTooLarge
	}
	_, err := c.asker.Ask(t.Context(), describe())
	require.ErrorIs(t, err, actorkit.ErrFrameTooLarge)
}

func TestManyAsk(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	for _, n := range c.nodes {
		c.say[n] = first(5, moving("c"), answering("room"))
	}
	var group sync.WaitGroup
	errs := make(chan error, 64)
	for i := range 64 {
		group.Go(func() {
			frame := describe()
			frame.RoomId = fmt.Sprint(i)
			answer, err := c.asker.Ask(t.Context(), frame)
			if err == nil && answer.GetRoomId() != fmt.Sprint(i) {
				err = errors.New("the answer is another room's")
			}
			errs <- err
		})
	}
	group.Wait()
	close(errs)
	for err := range errs {
		require.NoError(t, err)
	}
	require.Empty(t, c.asker.waiting)
}

func TestOwnersAreBounded(t *testing.T) {
	t.Parallel()
	o := newOwners(3)
	for i := range 10 {
		o.set(fmt.Sprint(i), "n")
		require.Equal(t, "n", o.get(fmt.Sprint(i)))
	}
	require.Len(t, o.nodes, 3)
	o.set("9", "m")
	require.Equal(t, "m", o.get("9"))
	o.set("9", "")
	require.Equal(t, "m", o.get("9"), "an owner that is not known changes nothing")
	require.Len(t, o.nodes, 3)
}
