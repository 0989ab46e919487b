//go:build !unix

package embedded

import "os"

// lockFile only opens the file: without flock a second server on the same directory is not detected.
func lockFile(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
}
