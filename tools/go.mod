module github.com/parley-rt/parley/tools

go 1.26.0
