package device

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hearth-edge/hearth/cmd/hearth/door"
	"github.com/hearth-edge/hearth/cmd/hearth/door/edge"
	"github.com/hearth-edge/hearth/cmd/hearth/door/outbox"
	"github.com/hearth-edge/hearth/cmd/hearth/door/web"
	"github.com/hearth-edge/hearth/protocol"
)

// buildDoors makes the ways in beside the app endpoint. The tokens are those of both.
func (d *Device) buildDoors() {
	d.tokens = door.NewTokens(d.cfg.StateDir, d.app.Token())
	d.http = door.NewServer(door.Config{
		Addr: d.cfg.HTTP, Socket: filepath.Join(d.cfg.StateDir, door.SocketFile), Tokens: d.tokens, Log: d.log,
		Handler: web.New(web.Config{App: d.appServer(), Tokens: d.tokens, Metrics: []prometheus.Collector{ownCollector{d}}}),
	})
	if d.cfg.Edge != nil {
		d.buildEdge(d.cfg.Edge)
	}
	d.outbox = outbox.New(outbox.Config{
		App: d.appServer(), Targets: d.cfg.EventsTo, Mesh: string(d.cfg.Secret.Fingerprint()), Name: d.cfg.Name, Log: d.log,
	})
}

func (d *Device) buildEdge(cfg *EdgeConfig) {
	anonymous := protocol.RightRun
	if cfg.NeedToken {
		anonymous = protocol.RightNone
	}
	d.brokers = outbox.NewBrokers(nil)
	d.edge = door.NewServer(door.Config{
		Addr: cfg.Addr, FixedPort: true, Anonymous: anonymous, Tokens: d.tokens, Log: d.log,
		Handler: edge.New(edge.Config{App: d.appServer(), Parse: cfg.Parse, Brokers: d.brokers, Log: d.log}),
	})
}

// openDoors has them listen, and the apps told where.
func (d *Device) openDoors() error {
	if err := d.http.Listen(); err != nil {
		return err
	}
	if d.edge != nil {
		if err := d.edge.Listen(); err != nil {
			d.http.Close()
			return fmt.Errorf("the API of edge-home-orchestration-go, whose clients know one port: %w", err)
		}
		d.log.Info("clients of edge-home-orchestration-go are answered", "address", d.edge.Addr())
	}
	d.app.TellHTTP(d.http.Addr())
	return nil
}

// HTTP returns the address that the door for people and programs listens on, once
// Ready; "" where it has none.
func (d *Device) HTTP() string { return d.http.Addr() }

// runEdge runs the door of edge-home-orchestration-go's clients.
func (d *Device) runEdge(ctx context.Context) error {
	defer d.brokers.Close()
	return d.edge.Run(ctx)
}

// EdgeAPI is HTTP for the door of edge-home-orchestration-go's clients.
func (d *Device) EdgeAPI() string {
	if d.edge == nil {
		return ""
	}
	return d.edge.Addr()
}

// Token is the owner's, which may do all.
func (d *Device) Token() string { return d.app.Token() }
