module github.com/parley-rt/parley/services/gateway

go 1.26.0

require (
	github.com/gobwas/ws v1.4.0
	github.com/parley-rt/parley/libs/actorkit v0.0.0
	github.com/parley-rt/parley/libs/dcplane v0.0.0
	github.com/parley-rt/parley/libs/opskit v0.0.0
	github.com/parley-rt/parley/libs/persistence v0.0.0
	github.com/parley-rt/parley/libs/protocol v0.0.0
	github.com/stretchr/testify v1.12.1
	github.com/tochemey/goakt/v4 v4.2.13
	go.opentelemetry.io/otel v1.47.0
	go.opentelemetry.io/otel/metric v1.47.0
	go.opentelemetry.io/otel/trace v1.47.0
	go.uber.org/goleak v1.3.0
	google.golang.org/protobuf v1.36.12
	pgregory.net/rapid v1.3.0
)

require (
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/gobwas/httphead v0.1.0 // indirect
	github.com/gobwas/pool v0.2.1 // indirect
)

replace (
	github.com/parley-rt/parley/libs/actorkit => ../../libs/actorkit
	github.com/parley-rt/parley/libs/dcplane => ../../libs/dcplane
	github.com/parley-rt/parley/libs/opskit => ../../libs/opskit
	github.com/parley-rt/parley/libs/persistence => ../../libs/persistence
	github.com/parley-rt/parley/libs/protocol => ../../libs/protocol
)
