// Package migrations reads the numbered steps of a schema and says whether a binary can run with what a store has.
package migrations

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/parley-rt/parley/libs/persistence"
)

// Step is one numbered step: migrations/NNNN_name.up.sql and the way back, NNNN_name.down.sql. The way up is never edited
// once released: its checksum is stored with the step.
type Step struct {
	Version  int
	Name     string
	Up, Down string
	// Compatible is the oldest version of the schema whose binaries run with this one, too: the step's own unless the file
	// says "-- compatible: N" in its first line. So a step that only adds can be applied while old binaries still run.
	Compatible int
	Checksum   string // of Up
}

// Applied is a step that a store has.
type Applied struct {
	Checksum   string
	Compatible int
}

var compatible = regexp.MustCompile(`\A-- compatible: (\d+)\n`)

// Load reads the steps, which must be numbered from 1 without holes.
func Load(files fs.FS) ([]Step, error) {
	names, err := fs.Glob(files, "migrations/*.up.sql") // sorted
	if err != nil {
		return nil, fmt.Errorf("list migrations: %w", err)
	}
	var steps []Step
	for i, name := range names {
		number, rest, _ := strings.Cut(strings.TrimSuffix(path.Base(name), ".up.sql"), "_")
		version, err := strconv.Atoi(number)
		if err != nil || version != i+1 {
			return nil, fmt.Errorf("migration %s: want number %04d", name, i+1)
		}
		up, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, fmt.Errorf("read migration: %w", err)
		}
		down, err := fs.ReadFile(files, strings.TrimSuffix(name, ".up.sql")+".down.sql")
		if err != nil {
			return nil, fmt.Errorf("read the way back of a migration: %w", err)
		}
		sum := sha256.Sum256(up)
		step := Step{
			Version: version, Name: rest, Up: string(up), Down: string(down), Compatible: version, Checksum: hex.EncodeToString(sum[:]),
		}
		if m := compatible.FindSubmatch(up); m != nil {
			if step.Compatible, err = strconv.Atoi(string(m[1])); err != nil || step.Compatible > version {
				return nil, fmt.Errorf("migration %s is compatible with %s, itself is %d", name, m[1], version)
			}
		}
		steps = append(steps, step)
	}
	return steps, nil
}

// Check says whether a binary that knows these steps runs with a store that has applied those, once the steps that it
// lacks have been applied: ErrSchemaVersion when the store has a newer step that is not compatible, another step under
// the same number, or a step without the one before it.
func Check(steps []Step, applied map[int]Applied) error {
	for i, version := range slices.Sorted(maps.Keys(applied)) {
		have := applied[version]
		if i < len(steps) && version != i+1 {
			return fmt.Errorf("schema has version %d without %d: %w", version, i+1, persistence.ErrSchemaVersion)
		}
		if version > len(steps) {
			if have.Compatible > len(steps) {
				return fmt.Errorf("schema is at version %d, which needs a binary that knows version %d; this one knows up to %d: "+
					"run a newer one, or let that one migrate down to %d: %w",
					version, have.Compatible, len(steps), len(steps), persistence.ErrSchemaVersion)
			}
			continue
		}
		if want := steps[version-1]; want.Checksum != have.Checksum {
			return fmt.Errorf("schema version %d (%s) is not the one of this binary: %w", version, want.Name, persistence.ErrSchemaVersion)
		}
	}
	return nil
}

// Missing returns the steps that are not applied.
func Missing(steps []Step, applied map[int]Applied) []Step {
	return slices.DeleteFunc(slices.Clone(steps), func(s Step) bool {
		_, done := applied[s.Version]
		return done
	})
}
