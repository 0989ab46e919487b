//go:build !failpoints

package failpoint

// Enabled says whether points can do anything in this build.
const Enabled = false

// Hit does nothing in this build.
func Hit(string) {}
