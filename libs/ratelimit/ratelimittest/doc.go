// Package ratelimittest has the suites that every ratelimit.Store and every way to make a ratelimit.Limiter passes.
package ratelimittest
