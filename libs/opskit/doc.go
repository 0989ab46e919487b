// Package opskit is what every Parley process has besides its domain: ordered
// start and stop, health, the ops HTTP port, telemetry, logs, configuration and
// build information. It imports no other Parley module.
//
// # Usage
//
// A main function loads its configuration, sets telemetry up, builds the
// components and hands them to Run:
//
//	ctx, stop := opskit.NotifyContext(context.Background())
//	defer stop()
//	health := opskit.NewHealth()
//	ops := opskit.NewOpsServer(opskit.OpsConfig{Listen: "127.0.0.1:9090"}, health, telemetry, logger)
//	err := opskit.Run(ctx, logger, 20*time.Second, ops, journal, rooms, health.Component())
//
// # Concurrency
//
// Health, Telemetry, OpsServer and the loggers are safe for concurrent use.
// Load and Run are called once by main.
//
// # Failure
//
// Configuration problems are collected and reported together. A component that
// does not start stops the ones started before it; one that does not stop in
// time is named in the error and left behind, because the process is about to
// exit.
package opskit
