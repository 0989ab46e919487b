package pgtest

import (
	"bytes"
	"strconv"

	"golang.org/x/sys/unix"
)

// removeSharedMemory removes the segment that a killed postmaster left as a guard of its data directory; an orderly end has
// removed it. The number of segments on a machine is limited, and nobody else would ever remove this one.
func removeSharedMemory(data string) {
	lines := pidFileLines(data)
	if len(lines) <= memoryLine {
		return
	}
	fields := bytes.Fields(lines[memoryLine])
	if len(fields) != 2 {
		return
	}
	id, err := strconv.Atoi(string(fields[1]))
	if err != nil {
		return
	}
	_, _ = unix.SysvShmCtl(id, unix.IPC_RMID, nil) // EINVAL: it is gone, after a restart of the machine
}
