module github.com/parley-rt/parley/services/scheduler

go 1.26.0

require (
	github.com/stretchr/testify v1.12.1
	google.golang.org/protobuf v1.36.12
	pgregory.net/rapid v1.3.0
)

require github.com/google/uuid v1.6.0 // indirect

require (
	github.com/parley-rt/parley/libs/persistence v0.0.0
	github.com/parley-rt/parley/libs/protocol v0.0.0
	go.yaml.in/yaml/v3 v3.0.6 // indirect
)

replace github.com/parley-rt/parley/libs/protocol => ../../libs/protocol

replace github.com/parley-rt/parley/libs/persistence => ../../libs/persistence
