// Package hostile attacks the built gateway from outside: frames and handshakes that break RFC 6455, sockets that say nothing,
// little by little or that never read, names made to break what they are put into, and more of everything than there is memory
// for. A canary, a connection that publishes and receives all the while, shows in every test that others are unharmed (S9).
package hostile
