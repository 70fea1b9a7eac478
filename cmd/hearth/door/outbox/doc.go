// Package outbox tells programs outside what happens in the mesh: a broker of MQTT, or
// a webhook. It never takes orders from them, and sends nothing while nothing happens.
//
//	App.Watch, App.Devices ──▶ message ──▶ queue (bounded) ──▶ broker or webhook, again until it is taken
//
// One goroutine owns each target's connection; queues have a mutex.
package outbox
