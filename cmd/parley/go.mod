module github.com/parley-rt/parley/cmd/parley

go 1.26.0

require (
	github.com/parley-rt/parley/libs/actorkit v0.0.0
	github.com/parley-rt/parley/libs/dcplane v0.0.0
	github.com/parley-rt/parley/libs/opskit v0.0.0
	github.com/parley-rt/parley/libs/persistence v0.0.0
	github.com/parley-rt/parley/libs/protocol v0.0.0
	github.com/parley-rt/parley/sdk/go v0.0.0
	github.com/parley-rt/parley/services/gateway v0.0.0
	github.com/parley-rt/parley/services/rooms v0.0.0
)

require (
	github.com/HdrHistogram/hdrhistogram-go v1.4.0 // indirect
	github.com/alecthomas/kong v1.17.0 // indirect
	github.com/gobwas/httphead v0.1.0 // indirect
	github.com/gobwas/pool v0.2.1 // indirect
	github.com/gobwas/ws v1.4.0 // indirect
	github.com/stretchr/testify v1.12.1 // indirect
)

replace (
	github.com/parley-rt/parley/libs/actorkit => ../../libs/actorkit
	github.com/parley-rt/parley/libs/dcplane => ../../libs/dcplane
	github.com/parley-rt/parley/libs/opskit => ../../libs/opskit
	github.com/parley-rt/parley/libs/persistence => ../../libs/persistence
	github.com/parley-rt/parley/libs/protocol => ../../libs/protocol
	github.com/parley-rt/parley/sdk/go => ../../sdk/go
	github.com/parley-rt/parley/services/gateway => ../../services/gateway
	github.com/parley-rt/parley/services/rooms => ../../services/rooms
)
