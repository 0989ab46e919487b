package harness

import "syscall"

// childAttributes put the server in a process group of its own and have the kernel kill it when the thread that started
// it ends, which is when the test process dies: a test that times out leaves nothing behind.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
