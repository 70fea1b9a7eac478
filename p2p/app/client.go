package app

import (
	"context"

	"github.com/hearth-edge/hearth/protocol"
)

// A Client is what an app programs against: the device it runs on, and through
// it the whole mesh. All that it can do is protocol.App:
//
//	Run       ask for a container, attached or detached: a protocol.Session
//	Attach    take part in a request that is there, from any output position
//	Stop      end it, or send it a signal
//	List      the requests of the mesh
//	Inspect   all that is known of one
//	Watch     every change of every request
//	Devices   who is in the mesh
//	Diagnose  what is wrong with the device
//
// Its methods may be called by any number of goroutines at the same time. Errors
// that the device tells are *protocol.Error: protocol.CodeOf returns their code.
type Client struct {
	*protocol.AppClient
	conn *Conn
}

// Connect connects to the device that runs on a state folder, whose owner this
// process must be, or be allowed by to read app.json and token. It returns an
// ErrNotRunning where no device runs there. ctx bounds the connecting only.
func Connect(ctx context.Context, stateDir string) (*Client, error) {
	conn, err := Dial(ctx, stateDir)
	if err != nil {
		return nil, err
	}
	return &Client{AppClient: protocol.NewAppClient(conn.Open, conn.Token()), conn: conn}, nil
}

// Close ends the connection. What was not detached ends with it: its device
// stops it.
func (c *Client) Close() error { return c.conn.Close() }
