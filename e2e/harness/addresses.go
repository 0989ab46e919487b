package harness

import (
	"net/url"
	"regexp"
	"strings"
)

// addresses are what a server prints about itself, as host:port.
type addresses struct{ gateway, ops, api string }

var address = regexp.MustCompile(`\b(?:https?|wss?)://\S+`)

// read takes an address from a line of the start-up table: the first URL after the row's name.
func (a *addresses) read(line string) {
	at, err := url.Parse(address.FindString(line))
	if err != nil || at.Host == "" {
		return
	}
	name := strings.ToLower(strings.TrimSpace(line))
	switch {
	case a.gateway == "" && (strings.HasPrefix(name, "gateway") || strings.HasPrefix(name, "chat page")):
		a.gateway = at.Host
	case a.ops == "" && strings.HasPrefix(name, "ops"):
		a.ops = at.Host
	case a.api == "" && strings.HasPrefix(name, "admin api"):
		a.api = at.Host
	}
}
