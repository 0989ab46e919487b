module github.com/parley-rt/parley/sdk/go

go 1.26.0

require (
	github.com/coder/websocket v1.8.15
	github.com/parley-rt/parley/libs/protocol v0.0.0
	github.com/stretchr/testify v1.12.1
	go.uber.org/goleak v1.3.0
	google.golang.org/protobuf v1.36.12
)

require (
	github.com/google/uuid v1.6.0 // indirect
	go.yaml.in/yaml/v3 v3.0.6 // indirect
)

replace github.com/parley-rt/parley/libs/protocol => ../../libs/protocol
