module github.com/parley-rt/parley/libs/protocol

go 1.26.0

require google.golang.org/protobuf v1.36.11
