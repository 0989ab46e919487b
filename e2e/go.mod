module github.com/parley-rt/parley/e2e

go 1.26.0

require (
	github.com/coder/websocket v1.8.15
	github.com/parley-rt/parley/libs/protocol v0.0.0
	github.com/parley-rt/parley/sdk/go v0.0.0
	github.com/stretchr/testify v1.12.1
)

replace (
	github.com/parley-rt/parley/libs/protocol => ../libs/protocol
	github.com/parley-rt/parley/sdk/go => ../sdk/go
)
