package auth

import (
	"context"
	"crypto"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"time"
)

const (
	// fetchTimeout bounds one fetch, from the look-up of the name to the last byte.
	fetchTimeout = 5 * time.Second
	// fetchPause is the time between the beginnings of two fetches that tokens with unknown keys cause.
	fetchPause = 5 * time.Second
	// fetchRetry is the pause after a fetch that failed; it doubles up to fetchRetryMost.
	fetchRetry, fetchRetryMost = time.Second, 30 * time.Second
	// maxKeySetBytes bounds what is read of an answer.
	maxKeySetBytes = 1 << 20
	// standardRefresh is JWKSRefresh's default.
	standardRefresh = 5 * time.Minute
	// standardMaxAge is JWKSMaxAge's default.
	standardMaxAge = 24 * time.Hour
)

// issuer keeps the keys that an issuer publishes. One goroutine, in run, fetches them.
type issuer struct {
	url     string
	refresh time.Duration
	maxAge  time.Duration // of an answer whose keys are used
	client  *http.Client
	logger  *slog.Logger
	metrics *metrics
	wanted  chan struct{} // somebody waits for the next fetch

	mu      sync.Mutex
	keys    keySet // nil: never had
	fetched time.Time
	began   time.Time     // of the last fetch
	next    chan struct{} // closed when the fetch that begins next is over
	running chan struct{} // closed when the one under way is; nil: none is
}

func newIssuer(cfg Config, deps Deps) *issuer {
	i := &issuer{url: cfg.JWKSURL, refresh: cfg.JWKSRefresh, maxAge: cfg.JWKSMaxAge, logger: deps.Logger, wanted: make(chan struct{}, 1), next: make(chan struct{})}
	if i.refresh == 0 {
		i.refresh = standardRefresh
	}
	if i.maxAge == 0 {
		i.maxAge = standardMaxAge
	}
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: deps.RootCAs},
		ForceAttemptHTTP2: true, MaxIdleConns: 1, IdleConnTimeout: time.Second, MaxResponseHeaderBytes: 64 << 10,
	}
	i.client = &http.Client{Timeout: fetchTimeout, Transport: transport, CheckRedirect: func(r *http.Request, via []*http.Request) error {
		if len(via) > 3 || checkAddress(r.URL.String(), cfg.JWKSInsecure) != nil {
			return errors.New("redirected to where keys are not taken from")
		}
		return nil
	}}
	return i
}

// find returns the key of a token, waiting for a fetch when it is not known; nil: the issuer does not have it. ErrKeys: whether it
// has cannot be told now.
func (i *issuer) find(ctx context.Context, id, algorithm string) (crypto.PublicKey, error) {
	i.mu.Lock()
	if key := i.current().find(id, algorithm); key != nil {
		i.mu.Unlock()
		return key, nil
	}
	done, joined := i.running, i.running != nil
	if !joined {
		if time.Since(i.began) < fetchPause {
			i.mu.Unlock() // asked a moment ago, perhaps for one who makes key ids up: not again now
			return nil, ErrKeys
		}
		done = i.next
		select {
		case i.wanted <- struct{}{}:
		default:
		}
	}
	i.mu.Unlock()
	select {
	case <-done:
	case <-ctx.Done():
		return nil, ErrKeys
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	key := i.current().find(id, algorithm)
	if key == nil && (joined || i.fetched.Before(i.began)) {
		return nil, ErrKeys // it failed, or began before the token was there
	}
	return key, nil
}

// current are the keys that may be used: none that are too old for it to be likely that the issuer still stands by them. Called with the
// lock held.
func (i *issuer) current() keySet {
	if i.keys == nil || time.Since(i.fetched) >= i.maxAge {
		return nil
	}
	return i.keys
}

// run fetches until ctx ends.
func (i *issuer) run(ctx context.Context) {
	defer i.client.CloseIdleConnections()
	pause := fetchRetry
	for {
		wait := i.refresh
		if err := i.fetch(ctx); err != nil && ctx.Err() == nil {
			wait, pause = min(pause, i.refresh), min(2*pause, fetchRetryMost)
			i.warn(err)
		} else {
			pause = fetchRetry
		}
		if !i.await(ctx, wait) {
			return
		}
	}
}

func (i *issuer) warn(err error) {
	i.mu.Lock()
	keys, age := i.current(), time.Since(i.fetched)
	i.mu.Unlock()
	if keys == nil {
		i.logger.Error("keys of the issuer of tokens cannot be fetched and there are none that may be used: nobody is let in by them", slog.Any("err", err))
		return
	}
	i.logger.Warn("keys of the issuer of tokens cannot be fetched; the last ones stay in use",
		slog.Any("err", err), slog.Duration("at_most_for", i.maxAge-age))
}

// await returns when the next fetch is due; false: ctx has ended.
func (i *issuer) await(ctx context.Context, wait time.Duration) bool {
	due := time.NewTimer(wait)
	defer due.Stop()
	select {
	case <-due.C:
		return true
	case <-ctx.Done():
		return false
	case <-i.wanted:
		return true
	}
}

func (i *issuer) fetch(ctx context.Context) error {
	i.mu.Lock()
	done := i.next
	i.began, i.running, i.next = time.Now(), done, make(chan struct{})
	began := i.began
	select {
	case <-i.wanted: // this is the one
	default:
	}
	i.mu.Unlock()
	keys, err := i.get(ctx)
	i.mu.Lock()
	if err == nil {
		i.keys, i.fetched = keys, began
	}
	i.running = nil
	known := i.keys.size()
	i.mu.Unlock()
	close(done)
	i.metrics.fetch(ctx, err)
	if err == nil {
		i.logger.Debug("keys of the issuer of tokens fetched", slog.Int("count", known))
	}
	return err
}

func (i *issuer) get(ctx context.Context) (keySet, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, i.url, nil)
	if err != nil {
		return nil, errors.New("address cannot be used") // New has checked it
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	res, err := i.client.Do(req)
	if err != nil {
		if failed, ok := errors.AsType[*url.Error](err); ok {
			err = failed.Err // what surrounds it repeats the address
		}
		return nil, fmt.Errorf("fetch keys: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("fetch keys: answered with status %d", res.StatusCode)
	}
	text, err := io.ReadAll(io.LimitReader(res.Body, maxKeySetBytes+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("fetch keys: read answer: %w", err)
	case len(text) > maxKeySetBytes:
		return nil, fmt.Errorf("fetch keys: answer is longer than %d bytes", maxKeySetBytes)
	}
	keys, err := parseKeySet(text)
	if err != nil {
		return nil, fmt.Errorf("fetch keys: answer %w", err)
	}
	return keys, nil
}

// state is for metrics and health: how many keys are in use, and how old the last answer is, if there ever was one.
func (i *issuer) state() (keys int, age time.Duration, ever bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.keys == nil {
		return 0, 0, false
	}
	return i.current().size(), time.Since(i.fetched), true
}
