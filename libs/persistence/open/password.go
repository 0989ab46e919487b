package open

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/parley-rt/parley/libs/persistence"
)

// mask stands for a password, as in net/url.
const mask = "xxxxx"

// Redact returns a journal URL with its passwords masked, for people and logs. When it cannot be told where a password ends it
// masks too much.
func Redact(journal string) string {
	scheme, rest, found := strings.Cut(journal, "://")
	switch {
	case !found:
		return mask
	case scheme == "sqlite" || scheme == "memory":
		return journal
	}
	at := strings.LastIndexByte(rest, '@')
	name, _, secret := strings.Cut(rest[:max(at, 0)], ":")
	if secret {
		name += ":" + mask
	}
	base, query, found := strings.Cut(rest[max(at, 0):], "?")
	if !found {
		return scheme + "://" + name + base
	}
	parameters := strings.Split(query, "&")
	for i, p := range parameters {
		if key, _, _ := strings.Cut(p, "="); isPassword(key) {
			parameters[i] = key + "=" + mask
		}
	}
	return scheme + "://" + name + base + "?" + strings.Join(parameters, "&")
}

func isPassword(key string) bool {
	key, err := url.QueryUnescape(key)
	return err != nil || key == "password" || key == "sslpassword"
}

// checkPostgres refuses a URL in which a part of the password may be taken for something else, a host, a port or a database,
// since that is then repeated in errors: passwords with unescaped characters do it, and a forgotten host.
func checkPostgres(rest string) error {
	base, query, _ := strings.Cut(rest, "?")
	authority, path, _ := strings.Cut(base, "/")
	if strings.Count(authority, "@") > 1 || strings.Contains(path+query, "@") {
		return fmt.Errorf("journal URL: percent-encode the special characters of user, password and parameters "+
			"(@ is %%40, : is %%3A, / is %%2F, ? is %%3F): %w", persistence.ErrInvalid)
	}
	_, hosts, found := strings.Cut(authority, "@")
	if !found {
		hosts = authority
	}
	for host := range strings.SplitSeq(hosts, ",") {
		if err := checkPort(host); err != nil {
			return fmt.Errorf("journal URL: %w, want postgres://user:password@host:port/database: %w", err, persistence.ErrInvalid)
		}
	}
	return nil
}

var errPort = errors.New("a host's port is not a number")

func checkPort(host string) error {
	if i := strings.LastIndexByte(host, ']'); i >= 0 {
		host = host[i:] // the colons of an IPv6 address
	}
	_, port, _ := strings.Cut(host, ":")
	if strings.Trim(port, "0123456789") != "" {
		return errPort
	}
	return nil
}
