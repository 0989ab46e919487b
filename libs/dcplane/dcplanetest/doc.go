// Package dcplanetest holds the behaviour every dcplane backend must show. A backend's tests call Exercise with a
// function that makes a fresh, empty control plane.
package dcplanetest
