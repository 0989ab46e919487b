module github.com/parley-rt/parley/libs/opskit

go 1.26.0
