module github.com/parley-rt/parley/sdk/go

go 1.26.0

require (
	github.com/parley-rt/parley/libs/protocol v0.0.0
)

replace (
	github.com/parley-rt/parley/libs/protocol => ../../libs/protocol
)
