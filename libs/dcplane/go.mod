module github.com/parley-rt/parley/libs/dcplane

go 1.26.0
