module github.com/parley-rt/parley/sdk/go

go 1.26.0

require github.com/parley-rt/parley/libs/protocol v0.0.0

require (
	github.com/coder/websocket v1.8.15 // indirect
	github.com/stretchr/testify v1.12.1 // indirect
	go.uber.org/goleak v1.3.0 // indirect
	pgregory.net/rapid v1.3.0 // indirect
)

replace github.com/parley-rt/parley/libs/protocol => ../../libs/protocol
