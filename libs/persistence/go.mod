module github.com/parley-rt/parley/libs/persistence

go 1.26.0
