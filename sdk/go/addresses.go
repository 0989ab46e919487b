package parley

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strings"
	"time"
)

// addresses are the gateways of one Parley that a Client may connect to. It stays where it is connected; after a failure
// it goes on to the next one that may be tried.
type addresses struct {
	list []address
	at   int
}

type address struct {
	url string
	// notBefore is when a gateway that refused the handshake wants to be asked again. It says nothing about the others.
	notBefore time.Time
	// refusals are those in a row.
	refusals int
}

// obeyed is how many refusals in a row of one gateway set the time of the next attempt alone. What has refused more often, like a
// proxy without a gateway behind it, is not asked more often than the backoff allows.
const obeyed = 3

// parseAddresses takes one or more addresses separated by commas.
func parseAddresses(raw string, inOrder bool) (*addresses, error) {
	a := &addresses{}
	var problems []error
	for part := range strings.SplitSeq(raw, ",") {
		u, err := endpoint(strings.TrimSpace(part))
		if err != nil {
			problems = append(problems, err)
		}
		a.list = append(a.list, address{url: u})
	}
	if !inOrder {
		a.at = rand.IntN(len(a.list))
	}
	return a, errors.Join(problems...)
}

func (a *addresses) current() string { return a.list[a.at].url }

func (a *addresses) single() bool { return len(a.list) == 1 }

// refuse notes that the current one wants to be left alone for so long. backoff is when it would be tried otherwise.
func (a *addresses) refuse(now time.Time, after time.Duration, backoff time.Time) {
	current := &a.list[a.at]
	current.refusals++
	current.notBefore = now.Add(after)
	if current.refusals > obeyed && current.notBefore.Before(backoff) {
		current.notBefore = backoff
	}
}

// accept notes that the current one has taken the Client.
func (a *addresses) accept() { a.list[a.at].refusals = 0 }

// next moves on to the first of the others, and of all when there is no other, that may be tried soonest. It returns when
// that is: what a gateway asked for while that is still to come, even before earliest, because it has a place for us then;
// otherwise earliest.
func (a *addresses) next(now, earliest time.Time) time.Time {
	best, when := -1, time.Time{}
	for i := 1; i <= len(a.list); i++ {
		n := (a.at + i) % len(a.list)
		t := earliest
		if told := a.list[n].notBefore; told.After(now) {
			t = told
		}
		if best < 0 || t.Before(when) {
			best, when = n, t
		}
	}
	a.at = best
	return when
}

// endpoint checks the server's address. Without a path it gets the default one, /ws.
func endpoint(raw string) (string, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return "", err
	}
	switch u.Scheme {
	case "ws", "wss", "http", "https":
	default:
		return "", fmt.Errorf("address %q must start with ws:// or wss://", raw)
	}
	if u.Host == "" {
		return "", fmt.Errorf("address %q has no host", raw)
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = "/ws"
	}
	return u.String(), nil
}
