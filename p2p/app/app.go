// Package app is the endpoint that apps on this device talk to.
package app

import (
	"context"
	"errors"
	"log/slog"

	"github.com/hearth-edge/hearth/protocol"
)

// ErrNotRunning means that no device runs on that state folder.
var ErrNotRunning = errors.New("no hearth is running")

// Config of an Endpoint.
type Config struct {
	StateDir string
	Handle   func(ctx context.Context, s protocol.Stream)
	Log      *slog.Logger
}

// Endpoint is the listening side.
type Endpoint struct {
	cfg   Config
	ready chan struct{}
}

// New starts nothing.
func New(cfg Config) (*Endpoint, error) { return &Endpoint{cfg: cfg, ready: make(chan struct{})}, nil }

// Run blocks until ctx ends.
func (e *Endpoint) Run(ctx context.Context) error { <-ctx.Done(); return nil }

// Ready is closed when apps can connect.
func (e *Endpoint) Ready() <-chan struct{} { return e.ready }

// Token is what apps prove themselves with; known from New on.
func (e *Endpoint) Token() string { return "" }

// Lock takes the state folder for this process.
func Lock(stateDir string) (unlock func(), err error) { return func() {}, nil }

// Conn is a connection to the running device.
type Conn struct{}

// Dial connects to the device that runs on stateDir.
func Dial(ctx context.Context, stateDir string) (*Conn, error) { return nil, ErrNotRunning }

// Open opens a stream.
func (c *Conn) Open(ctx context.Context) (protocol.Stream, error) { return nil, ErrNotRunning }

// Token is what the device wants to see.
func (c *Conn) Token() string { return "" }

// Close ends the connection.
func (c *Conn) Close() error { return nil }
