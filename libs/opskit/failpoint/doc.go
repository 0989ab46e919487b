// Package failpoint lets a test break a process at a named place of its code.
//
//	failpoint.Hit("room.after-commit") // in the code: does nothing, and costs nothing, in a normal build
//
// Built with -tags failpoints, the environment decides what happens there:
//
//	TEST_PARLEY_FAILPOINTS='room.after-commit=crash@3;member.after-save=stall(2s)'
//
//	crash      the process kills itself with SIGKILL, as if by kill -9
//	stall(d)   the goroutine waits for d
//	@n         only the n-th time that this process gets there; without it the first time
//	@every     each time
//
// Every point that is hit is logged once to standard error. A name that the binary does not have simply never comes up; a
// setting that cannot be read ends the process at its first point. What is shipped is built without the tag; a check of the
// repository looks for that.
package failpoint
