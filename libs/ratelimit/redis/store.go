// Package redis keeps on a Redis server what the nodes have used together. It needs Redis 6.2 or newer, one server or a primary
// with replicas behind one address, and no Redis Cluster: a request has many keys. What it keeps may be lost at any time; see
// package ratelimit for what that costs.
package redis

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/parley-rt/parley/libs/ratelimit"
)

var (
	//go:embed sync.lua
	syncSource string
	//go:embed take.lua
	takeSource string
)

const (
	// keysAtOnce go through one run of the script: a server does nothing else meanwhile, about 10 µs for each.
	keysAtOnce = 64
	// prefix of all keys.
	prefix = "parley:ratelimit:"
	// connections that are kept at most. Decisions that find none free wait, as long as they may.
	connections = 16
	dialWithin  = time.Second
)

// Store implements ratelimit.Store.
type Store struct {
	client         *redis.Client
	report, decide *redis.Script
	offset         atomic.Int64 // the server's clock less ours, ns; 0: not known
}

// Check says what is wrong with an address.
func Check(url string) error {
	if _, err := redis.ParseURL(url); err != nil {
		return errAddress
	}
	return nil
}

// errAddress shows nothing of the address, which may have a password.
var errAddress = errors.New("not an address of a Redis server: give redis://[user:password@]host:port[/number], rediss:// for TLS, or unix://path")

// quiet keeps the client from writing to the process's standard error each time that it cannot connect: the limiter says it once.
var quiet = sync.OnceFunc(func() { redis.SetLogger(silence{}) }) //nolint:gochecknoglobals // the client's logger is one for the process

type silence struct{}

func (silence) Printf(context.Context, string, ...any) {}

// Open returns a store on the server at url. It connects when it is used.
func Open(url string) (*Store, error) {
	opt, err := redis.ParseURL(url)
	if err != nil {
		return nil, Check(url)
	}
	quiet()
	opt.Protocol = 2 // one round trip less for each connection, and no other kind of answer is needed
	opt.DisableIdentity = true
	opt.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	opt.MaxRetries = -1 // the limiter knows what to do instead
	opt.DialerRetries = 1
	opt.DialTimeout = dialWithin
	opt.ContextTimeoutEnabled = true
	opt.PoolSize, opt.MaxIdleConns = connections, connections
	opt.ConnMaxIdleTime = time.Minute
	return &Store{client: redis.NewClient(opt), report: redis.NewScript(syncSource), decide: redis.NewScript(takeSource)}, nil
}

// Sync implements ratelimit.Store. Many reports are several runs of the script, in one request; when it breaks off, those that were
// done before are.
func (s *Store) Sync(ctx context.Context, node string, reports []ratelimit.Report) ([]ratelimit.View, error) {
	views, err := s.run(ctx, s.report.EvalSha, node, reports, make([]ratelimit.View, 0, len(reports)))
	if err != nil && redis.HasErrorPrefix(err, "NOSCRIPT") { // a server that is new, or was started again
		views, err = s.run(ctx, s.report.Eval, node, reports[len(views):], views)
	}
	if err != nil && !errors.Is(err, ratelimit.ErrLate) {
		err = fmt.Errorf("%w: %w", ratelimit.ErrAway, err)
	}
	return views, err
}

type eval func(ctx context.Context, c redis.Scripter, keys []string, args ...any) *redis.Cmd

// run appends the views of reports.
func (s *Store) run(ctx context.Context, script eval, node string, reports []ratelimit.Report, views []ratelimit.View) ([]ratelimit.View, error) {
	pipe := s.client.Pipeline()
	cmds := make([]*redis.Cmd, 0, len(reports)/keysAtOnce+1)
	for chunk := range slices.Chunk(reports, keysAtOnce) {
		keys, args := s.arguments(ctx, node, chunk)
		cmds = append(cmds, script(ctx, pipe, keys, args...))
	}
	_, _ = pipe.Exec(ctx) // it is the first command's error, which comes again
	for i, cmd := range cmds {
		answer, err := cmd.Int64Slice()
		if err != nil {
			return views, err //nolint:wrapcheck // Sync does
		}
		want := len(reports[i*keysAtOnce : min((i+1)*keysAtOnce, len(reports))])
		if len(answer) == 2 && answer[1] == 0 {
			s.learn(answer[0])
			return views, ratelimit.ErrLate
		}
		if len(answer) != 2+3*want {
			return views, fmt.Errorf("%d numbers in the answer to %d reports", len(answer), want)
		}
		s.learn(answer[0])
		for v := range slices.Chunk(answer[2:], 3) {
			views = append(views, ratelimit.View{Ahead: [2]time.Duration{micros(v[0]), micros(v[1])}, Nodes: int(v[2])})
		}
	}
	return views, nil
}

func (s *Store) arguments(ctx context.Context, node string, reports []ratelimit.Report) (keys []string, args []any) {
	keys = make([]string, len(reports))
	args = make([]any, 0, 3+4*len(reports))
	args = append(args, node, s.until(ctx), ratelimit.Active.Microseconds())
	for i, r := range reports {
		keys[i] = prefix + r.Key
		args = append(args, r.Used[0].Microseconds(), r.Used[1].Microseconds(), r.Most[0].Microseconds(), r.Most[1].Microseconds())
	}
	return keys, args
}

// Take implements ratelimit.Store.
func (s *Store) Take(ctx context.Context, key string, costs, depths [2]time.Duration) (after time.Duration, ok bool, err error) {
	answer, err := s.decide.Run(ctx, s.client, []string{prefix + key}, s.until(ctx),
		costs[0].Microseconds(), costs[1].Microseconds(), depths[0].Microseconds(), depths[1].Microseconds()).Int64Slice()
	if err != nil || len(answer) != 3 {
		return 0, false, fmt.Errorf("%w: %w", ratelimit.ErrAway, err)
	}
	s.learn(answer[0])
	if answer[1] == 0 {
		return 0, false, ratelimit.ErrLate
	}
	return micros(answer[2]), answer[2] == 0, nil
}

// Ping implements ratelimit.Store. A server that only reads is none: it is about to be replaced, or was.
func (s *Store) Ping(ctx context.Context) error {
	if err := s.client.Set(ctx, prefix+"ping", "", time.Second).Err(); err != nil {
		return fmt.Errorf("%w: %w", ratelimit.ErrAway, err)
	}
	now, err := s.client.Time(ctx).Result()
	if err != nil {
		return fmt.Errorf("%w: %w", ratelimit.ErrAway, err)
	}
	s.learn(now.UnixMicro())
	return nil
}

// learn notes what the server's clock shows. It has gone on since, so that it is taken for earlier than it is, by as long as the
// answer took.
func (s *Store) learn(micros int64) {
	s.offset.Store(micros*int64(time.Microsecond) - time.Now().UnixNano())
}

// until is when a request is given up, by the server's clock, in µs: a server that was frozen must not do it later. 0: the clock is
// not known, or there is no such time.
func (s *Store) until(ctx context.Context) string {
	deadline, ok := ctx.Deadline()
	offset := s.offset.Load()
	if !ok || offset == 0 {
		return "0"
	}
	return strconv.FormatInt((deadline.UnixNano()+offset)/int64(time.Microsecond), 10)
}

func micros(v int64) time.Duration { return time.Duration(v) * time.Microsecond }

// Close implements ratelimit.Store.
func (s *Store) Close() error {
	if err := s.client.Close(); err != nil {
		return fmt.Errorf("close the connections to Redis: %w", err)
	}
	return nil
}
