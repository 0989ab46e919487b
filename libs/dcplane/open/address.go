package open

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// mask stands for a password, as in net/url.
const mask = "xxxxx"

// address is a URL taken apart. It has no String method: user may be a token.
type address struct {
	scheme string
	// user and password apply to all hosts. Without a password user may be a token.
	user, password string
	hasPassword    bool
	hosts          []string // host or host:port, IPv6 in brackets
	path           string   // begins with / unless empty; unescaped
	parameters     map[string]string
}

// Redact returns a control plane URL without its password or token, for people and logs. Of one that is not understood
// it shows the scheme only.
func Redact(url string) string {
	a, problems := parseAddress(url)
	switch {
	case a.scheme == "":
		return mask
	case len(problems) > 0:
		return a.scheme + "://" + mask
	}
	shown := a.scheme + "://"
	switch {
	case a.hasPassword:
		shown += escape(a.user) + ":" + mask + "@"
	case a.user != "":
		shown += mask + "@"
	}
	shown += strings.Join(a.hosts, ",") + escape(a.path)
	var query []string
	for name, value := range a.parameters {
		query = append(query, name+"="+escape(value))
	}
	if len(query) > 0 {
		slices.Sort(query)
		shown += "?" + strings.Join(query, "&")
	}
	return shown
}

// escape leaves slashes, since what it shows are names and paths of files.
func escape(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "%2F", "/") }

// parseAddress takes a URL apart. net/url cannot: it knows one host only. It repeats nothing that may be a part of a
// password: special characters that were not escaped can put one anywhere, so host names are only shown when they
// consist of what host names do.
func parseAddress(s string) (a address, problems []error) {
	scheme, rest, found := strings.Cut(s, "://")
	switch {
	case s == "":
		return a, []error{errors.New("it is empty, " + examples)}
	case !found || strings.Trim(strings.ToLower(scheme), letters) != "" || scheme == "":
		return a, []error{errors.New("it has no scheme, " + examples)}
	}
	a.scheme = scheme
	fail := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }

	base, query, _ := strings.Cut(rest, "?")
	if strings.Contains(rest, "#") || strings.Contains(query, "@") || strings.Contains(query, "?") {
		fail("percent-encode special characters (@ is %%40, : is %%3A, / is %%2F, ? is %%3F, # is %%23)")
		return a, problems
	}
	servers := strings.Split(base, ",")
	for i, server := range servers {
		server = strings.TrimSpace(server)
		if i > 0 {
			server = strings.TrimPrefix(server, scheme+"://")
		}
		if strings.Contains(server, "://") {
			fail("all servers need the same scheme, %s", scheme+"://")
			continue
		}
		if slash := strings.IndexByte(server, '/'); slash >= 0 {
			if strings.Contains(server[slash:], "@") {
				fail("percent-encode special characters of user and password (@ is %%40, : is %%3A, / is %%2F)")
				continue
			}
			if i < len(servers)-1 && server[slash:] != "/" {
				fail("a path can only follow the last host")
			}
			path, err := url.PathUnescape(server[slash:])
			if err != nil {
				fail("the path has a broken %%-escape")
			}
			server, a.path = server[:slash], path
		}
		credentials, host, found := cutLast(server, "@")
		if found {
			if err := a.credentials(credentials); err != nil {
				problems = append(problems, err)
			}
		}
		if err := checkHost(host); err != nil {
			problems = append(problems, err)
			continue
		}
		a.hosts = append(a.hosts, host)
	}
	if query != "" {
		problems = append(problems, a.query(query)...)
	}
	return a, problems
}

const (
	letters = "abcdefghijklmnopqrstuvwxyz"
	digits  = "0123456789"
)

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return "", s, false
}

// credentials takes what stands before an @.
func (a *address) credentials(s string) error {
	rawUser, rawPassword, hasPassword := strings.Cut(s, ":")
	if strings.ContainsAny(s, "@") || strings.Contains(rawPassword, ":") {
		return errors.New("percent-encode special characters of user and password (@ is %40, : is %3A, / is %2F)")
	}
	user, err1 := url.PathUnescape(rawUser)
	password, err2 := url.PathUnescape(rawPassword)
	switch {
	case err1 != nil || err2 != nil:
		return errors.New("user or password has a broken %-escape: % itself is written %25")
	case user == "" || hasPassword && password == "":
		return errors.New("user or password is empty: write user:password@, or neither")
	case a.user != "" && (a.user != user || a.password != password):
		return errors.New("servers have different users or passwords: give them once, before the first host")
	}
	a.user, a.password, a.hasPassword = user, password, hasPassword
	return nil
}

func checkHost(hostPort string) error {
	host, port := hostPort, ""
	if i := strings.LastIndexByte(hostPort, ':'); i > strings.LastIndexByte(hostPort, ']') {
		host, port = hostPort[:i], hostPort[i+1:]
		// Not a number: it may be a password whose host was forgotten.
		if strings.Trim(port, digits) != "" {
			return errors.New("a host's port is not a number, want [user:password@]host[:port]")
		}
		if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
			return fmt.Errorf("a host's port is %q, not in 1–65535", port)
		}
	}
	if inner, bracketed := strings.CutPrefix(host, "["); bracketed {
		if inner, closed := strings.CutSuffix(inner, "]"); !closed || net.ParseIP(inner) == nil {
			return errors.New("what is in the brackets of a host is not an IPv6 address")
		}
		return nil
	}
	switch {
	case host == "":
		return errors.New("a host is missing")
	case strings.Contains(host, ":"):
		return errors.New("an IPv6 address needs brackets: [::1]:port")
	case strings.Trim(strings.ToLower(host), letters+digits+".-_") != "":
		return errors.New("a host has characters other than letters, digits, . - and _")
	}
	return nil
}

// query takes the parameters. Which names a backend knows is its own business.
func (a *address) query(s string) (problems []error) {
	a.parameters = make(map[string]string)
	for pair := range strings.SplitSeq(s, "&") {
		name, escaped, _ := strings.Cut(pair, "=")
		value, err := url.PathUnescape(escaped)
		_, twice := a.parameters[name]
		switch {
		case name == "" || strings.Trim(name, letters+"_") != "":
			problems = append(problems, errors.New("a parameter's name is not made of lower-case letters"))
		case err != nil:
			problems = append(problems, fmt.Errorf("parameter %s has a broken %%-escape: %% itself is written %%25", name))
		case value == "":
			problems = append(problems, fmt.Errorf("parameter %s is empty", name))
		case twice:
			problems = append(problems, fmt.Errorf("parameter %s is given twice", name))
		default:
			a.parameters[name] = value
		}
	}
	return problems
}

// unknown reports the parameters that are none of known.
func (a *address) unknown(known ...string) (problems []error) {
	for name := range a.parameters {
		if !slices.Contains(known, name) {
			problems = append(problems, fmt.Errorf("parameter %s is not known to %s://, which takes %s", name, a.scheme, strings.Join(known, ", ")))
		}
	}
	slices.SortFunc(problems, func(x, y error) int { return strings.Compare(x.Error(), y.Error()) })
	return problems
}
