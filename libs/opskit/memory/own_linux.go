package memory

import (
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
)

func systemFiles() fs.FS { return os.DirFS("/") }

// own is the process's own memory: what no file stands for.
func own() (int64, error) { return field("/proc/self/status", "RssAnon:") }

// machine is the memory of the machine.
func machine() (int64, error) { return field("/proc/meminfo", "MemTotal:") }

// field reads a line like "Name:  123 kB", in bytes.
func field(file, name string) (int64, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) >= 2 && f[0] == name {
			kib, err := strconv.ParseInt(f[1], 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("%s has no %s", file, name)
}
