// Package compose turns compose files into a [protocol.Stack].
//
// It runs in the command that the user typed, never in the device: a device
// sees no YAML. It reads files, expands them with compose-go, looks every key
// up in one table and translates what is left. It opens no connection, asks no
// registry and changes nothing on disk.
//
//	files → nodes (bounded, with lines) → compose-go → keys table → protocol.Stack
//	                                          ↑
//	                            .env, --env-file, environment
package compose
