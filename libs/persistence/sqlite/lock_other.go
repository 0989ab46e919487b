//go:build !unix

package sqlite

import (
	"errors"
	"os"
)

// flock has no implementation here: without an exclusive lock two processes could write one journal, so Open refuses.
func flock(*os.File) error { return errors.ErrUnsupported }
