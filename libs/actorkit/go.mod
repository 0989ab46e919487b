module github.com/parley-rt/parley/libs/actorkit

go 1.26.0

require (
	github.com/parley-rt/parley/libs/persistence v0.0.0
	github.com/parley-rt/parley/libs/protocol v0.0.0
)

replace (
	github.com/parley-rt/parley/libs/persistence => ../../libs/persistence
	github.com/parley-rt/parley/libs/protocol => ../../libs/protocol
)
